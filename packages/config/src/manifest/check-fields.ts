import { didYouMean, nearest } from '../nearest.js';
import { show } from '../problems.js';
import { isPlainObject } from '../shape.js';
import type { Report } from './diagnostic.js';
import { type FieldNode, fieldTree, type IstioKind } from './field-tree.js';
import type { Locate, Path } from './locate.js';
import { isRefused, supportOf } from './support.js';

/** A document, and where to say what is wrong with it. */
export interface FieldCheck {
  /** Its kind. */
  readonly kind: IstioKind;
  /** Finds places in it. */
  readonly locate: Locate;
  /** Takes what is wrong. */
  readonly report: Report;
}

/** What a value is, in the words of YAML. */
function typeName(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a mapping' : show(value);
}

const typeTests: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === 'number' && Number.isFinite(value),
};

const typeWords: Readonly<Record<string, string>> = {
  string: 'text',
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
};

/** What is wrong with a plain value; `undefined` if nothing is. */
function mistakeOf(type: string, value: unknown): string | undefined {
  const test = typeTests[type];
  if (test !== undefined) {
    if (test(value)) return undefined;
    const quoted = type === 'string' && (typeof value === 'number' || typeof value === 'boolean');
    return `expected ${typeWords[type]}, found ${typeName(value)}${quoted ? '; write it in quotes' : ''}`;
  }
  const words = type.split('|');
  if (words.some((word) => word === value)) return undefined;
  const meant = typeof value === 'string' ? didYouMean(value, words) : '';
  return `expected one of ${words.join(', ')}, found ${typeName(value)}${meant}`;
}

/** Checks a document of Istio: every name, every type, and that nothing is said that is not in force. */
class FieldChecker {
  readonly #check: FieldCheck;

  constructor(check: FieldCheck) {
    this.#check = check;
  }

  /** @param template - The path without numbers and names of maps, as the table has it. */
  visit(node: FieldNode, value: unknown, path: Path, template: string): void {
    switch (node.kind) {
      case 'object':
        if (isPlainObject(value)) this.#object(node.fields, value, path, template);
        else this.#wrong(path, `expected a mapping, found ${typeName(value)}`);
        return;
      case 'list':
        if (Array.isArray(value))
          for (const [i, one] of value.entries()) this.visit(node.item, one, [...path, i], `${template}[]`);
        else this.#wrong(path, `expected a list, found ${typeName(value)}`);
        return;
      case 'map':
        if (isPlainObject(value))
          for (const [name, one] of Object.entries(value))
            this.visit(node.item, one, [...path, name], `${template}{}`);
        else this.#wrong(path, `expected a mapping, found ${typeName(value)}`);
        return;
      case 'value':
        this.#plain(node.type, value, path, template);
    }
  }

  #object(
    fields: ReadonlyMap<string, FieldNode>,
    value: Readonly<Record<string, unknown>>,
    path: Path,
    template: string,
  ): void {
    for (const [name, one] of Object.entries(value)) {
      const at = [...path, name];
      const node = fields.get(name);
      const below = template === '' ? name : `${template}.${name}`;
      if (node === undefined) this.#unknown(name, at, [...fields.keys()]);
      else if (isRefused(this.#check.kind, below)) this.#unsupported(below, at);
      else this.visit(node, one, at, below);
    }
  }

  #plain(type: string, value: unknown, path: Path, template: string): void {
    const mistake = mistakeOf(type, value);
    if (mistake !== undefined) {
      this.#wrong(path, mistake);
      return;
    }
    const support = supportOf(this.#check.kind, template);
    if (support.kind !== 'fixed' || support.values.includes(value)) return;
    const { locate, report } = this.#check;
    report({
      code: 'INMESH_ERR_CONFIG_UNSUPPORTED',
      origin: locate(path),
      message: `"spec.${template}: ${String(value)}" is not supported; it may be ${support.values.join(', ')}`,
      field: `spec.${template}`,
    });
  }

  #unknown(name: string, path: Path, known: readonly string[]): void {
    const { locate, report } = this.#check;
    const meant = nearest(name, known);
    const hint = meant === undefined ? `there are ${known.join(', ')}` : `did you mean "${meant}"?`;
    report({
      code: 'INMESH_ERR_CONFIG_UNKNOWN',
      origin: locate(path, true),
      message: `unknown field "${name}"; ${hint}`,
    });
  }

  #unsupported(template: string, path: Path): void {
    const { kind, locate, report } = this.#check;
    report({
      code: 'INMESH_ERR_CONFIG_UNSUPPORTED',
      origin: locate(path, true),
      message: `"spec.${template}" of ${kind} is not supported`,
      field: `spec.${template}`,
    });
  }

  #wrong(path: Path, message: string): void {
    const { locate, report } = this.#check;
    report({ code: 'INMESH_ERR_CONFIG_INVALID', origin: locate(path), message });
  }
}

/** Checks the `spec` of a document of Istio. */
export function checkSpec(check: FieldCheck, spec: unknown): void {
  new FieldChecker(check).visit(fieldTree(check.kind), spec, ['spec'], '');
}
