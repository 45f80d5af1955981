export { type AuthorizeOptions, authorize } from './authorize.js';
export type { Decision } from './clause.js';
export { exactRouter, type RouterEquivalence } from './equivalence.js';
export { normalizeTarget, type PathNormalization, pathNormalizations, pathOf } from './normalize.js';
export { refuseTwins } from './policy-names.js';
export { compilePolicies, type PolicySet, type PolicySetOptions } from './policy-set.js';
export { type ParsePolicy, runVectors, type VectorFile, type VectorReport } from './vectors.js';
