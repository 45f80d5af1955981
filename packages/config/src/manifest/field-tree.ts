import { istioFields, trafficPolicyFields } from './istio-fields.js';

/** What may stand at a place of a manifest. */
export type FieldNode =
  | {
      /** Tells the nodes apart: named fields. */
      readonly kind: 'object';
      /** Fields by name. */
      readonly fields: Map<string, FieldNode>;
    }
  | {
      /** Tells the nodes apart: a list, or values under any name. */
      readonly kind: 'list' | 'map';
      /** What each of them is. */
      readonly item: FieldNode;
    }
  | {
      /** Tells the nodes apart: a value. */
      readonly kind: 'value';
      /** `string`, `integer`, `number`, `boolean`, or words separated by `|`. */
      readonly type: string;
    };

/** Kinds of Istio that are read. */
export type IstioKind = keyof typeof istioFields;

/** One field: its path in `spec`, and its type. */
export interface FieldRow {
  /** Such as `http[].match[].uri.exact`. */
  readonly path: string;
  /** `string`, `integer`, `number`, `boolean`, or words separated by `|`. */
  readonly type: string;
}

function rowsOf(table: string): readonly FieldRow[] {
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const [path = '', type = ''] = line.split(' ');
      return { path, type };
    });
}

const ofPolicy = rowsOf(trafficPolicyFields);
const ofPort: readonly FieldRow[] = [
  { path: 'port.number', type: 'integer' },
  ...ofPolicy.filter(({ path }) => !/^(?:proxyProtocol|retryBudget|tunnel)\./.test(path)),
];
const repeated = new Map([
  ['@policy', ofPolicy],
  ['@portPolicy', ofPort],
]);

/** Every field of a kind, in the order of Istio. */
export function fieldRows(kind: IstioKind): readonly FieldRow[] {
  return rowsOf(istioFields[kind]).flatMap((row) => {
    const fields = repeated.get(row.type);
    return fields === undefined
      ? [row]
      : fields.map(({ path, type }) => ({ path: `${row.path}.${path}`, type }));
  });
}

/** Kinds of Istio that are read, in the order of the reference. */
export const istioKinds = Object.keys(istioFields) as readonly IstioKind[];

/** The parts of a path: `http`, `[]`, `match`, `[]`, `headers`, `{}`, `exact`. */
function partsOf(path: string): readonly string[] {
  return path.match(/\[\]|\{\}|[^.[\]{}]+/g) ?? [];
}

type Draft = Map<string, Draft | string>;

function nodeOf(draft: Draft | string): FieldNode {
  if (typeof draft === 'string') return { kind: 'value', type: draft };
  const list = draft.get('[]');
  if (list !== undefined) return { kind: 'list', item: nodeOf(list) };
  const map = draft.get('{}');
  if (map !== undefined) return { kind: 'map', item: nodeOf(map) };
  return { kind: 'object', fields: new Map([...draft].map(([name, one]) => [name, nodeOf(one)])) };
}

function buildTree(rows: readonly FieldRow[]): FieldNode {
  const root: Draft = new Map();
  for (const { path, type } of rows) {
    const parts = partsOf(path);
    let at = root;
    for (const part of parts.slice(0, -1)) {
      const known = at.get(part);
      const next: Draft = known instanceof Map ? known : new Map();
      at.set(part, next);
      at = next;
    }
    at.set(parts.at(-1) ?? '', type);
  }
  return nodeOf(root);
}

const trees = new Map<IstioKind, FieldNode>();

/** What may stand in the `spec` of a kind. */
export function fieldTree(kind: IstioKind): FieldNode {
  const known = trees.get(kind);
  if (known !== undefined) return known;
  const tree = buildTree(fieldRows(kind));
  trees.set(kind, tree);
  return tree;
}
