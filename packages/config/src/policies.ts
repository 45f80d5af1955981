export {
  createPolicyDirectory,
  type PolicyDirectory,
  type PolicyDirectoryOptions,
} from './policy-directory.js';
export {
  frameError,
  type ParsePoliciesOptions,
  parsePolicies,
  parsePolicyObject,
} from './policy-documents.js';
