import { type BenchPolicy, benchPolicies } from '../policies.js';

/** Default retries of Istio. */
export const istioRetries = {
  retry_policy: {
    retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
    retriable_status_codes: [503],
    num_retries: 2,
  },
};

/** With Envoy's defaults. */
export const outlierDetection = { outlier_detection: {} };

function pathPermission(path: NonNullable<BenchPolicy['path']>): object {
  if ('exact' in path) return { url_path: { path: { exact: path.exact } } };
  if ('prefix' in path) return { url_path: { path: { prefix: path.prefix } } };
  return {
    uri_template: {
      name: 'template',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
        path_template: `${path.before}*${path.after}`,
      },
    },
  };
}

/** A policy as Istio translates it. */
function translate({ from, path, team }: BenchPolicy): object {
  const name =
    'namespace' in from
      ? { safe_regex: { regex: `.*/ns/${from.namespace}/.*` } }
      : { exact: `spiffe://dev.local/ns/default/sa/${from.account}` };
  const header = (key: string, value: string): object => ({
    header: { name: key, string_match: { exact: value } },
  });
  const permissions = path
    ? [{ and_rules: { rules: [header(':method', 'GET'), pathPermission(path)] } }]
    : [{ any: true }];
  const principal = { authenticated: { principal_name: name } };
  const ids = [principal, ...(team === undefined ? [] : [header('x-team', team)])];
  return { permissions, principals: [{ and_ids: { ids } }] };
}

function rbac(action: 'ALLOW' | 'DENY', policies: readonly BenchPolicy[]): object {
  return {
    name: `rbac-${action}`,
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
      rules: {
        action,
        policies: Object.fromEntries(
          policies.map((one) => [`ns[default]-policy[${one.name}]`, translate(one)]),
        ),
      },
    },
  };
}

/** Filters and settings of an inbound sidecar: DENY before ALLOW, 100 policies in all, the caller named in XFCC. */
export function istioInbound(): { readonly filters: readonly object[]; readonly manager: object } {
  const policies = benchPolicies(100);
  return {
    filters: [
      rbac(
        'DENY',
        policies.filter((one) => one.isDeny),
      ),
      rbac(
        'ALLOW',
        policies.filter((one) => !one.isDeny),
      ),
    ],
    manager: {
      forward_client_cert_details: 'APPEND_FORWARD',
      set_current_client_cert_details: { subject: true, dns: true, uri: true },
    },
  };
}
