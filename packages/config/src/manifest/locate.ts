import type { Origin } from '@inmesh/core';
import { type Document, isMap, isNode, isScalar, type LineCounter } from 'yaml';

/** Keys from the top of a document to a value. */
export type Path = readonly (string | number)[];

/** Finds where a value stands, or the name of it; the nearest that there is, if it is missing. */
export type Locate = (path: Path, isAtKey?: boolean) => Origin;

/** Where a value, or the name of a field, stands in a document. */
export function locateIn(document: Document, lines: LineCounter, file: string): Locate {
  return (path, isAtKey = false) => {
    for (let length = path.length; length >= 0; length--) {
      const parent = length === 0 ? undefined : document.getIn(path.slice(0, length - 1), true);
      const owner = length === 1 ? document.contents : parent;
      const key = path[length - 1];
      const pair = isMap(owner)
        ? owner.items.find((item) => isScalar(item.key) && item.key.value === key)
        : undefined;
      const value: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
      const node = isNode(value) && !isMap(value) && !isAtKey ? value : isNode(pair?.key) ? pair.key : value;
      const offset = isNode(node) ? node.range?.[0] : undefined;
      if (offset === undefined) continue;
      const { line, col } = lines.linePos(offset);
      return Object.freeze({ source: file, line, column: col });
    }
    return Object.freeze({ source: file, line: 1, column: 1 });
  };
}
