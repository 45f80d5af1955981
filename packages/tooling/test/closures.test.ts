import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const packages = fileURLToPath(new URL('../../', import.meta.url));
/** What is on the path of a request. */
const shipped = ['authz', 'core', 'grpc', 'http', 'identity', 'inmesh', 'resilience', 'telemetry'];

function bare(node: ts.Expression): ts.Expression {
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node) || ts.isSatisfiesExpression(node))
    return bare(node.expression);
  return node;
}

function isAssignedFunction(node: ts.Node): boolean {
  if (!ts.isBinaryExpression(node)) return false;
  const { kind } = node.operatorToken;
  if (kind < ts.SyntaxKind.FirstAssignment || kind > ts.SyntaxKind.LastAssignment) return false;
  const left = bare(node.left);
  if (!ts.isPropertyAccessExpression(left) && !ts.isElementAccessExpression(left)) return false;
  const right = bare(node.right);
  return ts.isArrowFunction(right) || ts.isFunctionExpression(right);
}

/** Places where a function is written as the value that a property is set to. */
function assignedFunctions(name: string, text: string): readonly string[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (isAssignedFunction(node))
      found.push(`${name}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function sourcesOf(name: string): readonly string[] {
  const dir = join(packages, name, 'src');
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(dir, file));
}

/**
 * V8 takes `object.method = () => …` for the making of a class and puts the function where old objects live. One for
 * each call keeps the call, and whatever that knows, through every collection of young objects until a full one: in
 * servers of gRPC a third of the time of a call went there.
 */
describe('functions that properties are set to', () => {
  it.each([
    ['call.start = () => {};', 1],
    ['this.#stop = (function stop() {}) as Stop;', 1],
    ["target['end'] ??= () => {};", 1],
    ['const start = () => {};\ncall.start = start;', 0],
    ['class Call { readonly start = () => {}; }', 0],
    ['begin({ onEnd: () => {} });', 0],
  ])('are found in %s: %i', (text, count) => {
    expect(assignedFunctions('a.ts', text)).toHaveLength(count);
  });

  it.each(shipped)('have a name of their own in %s', (name) => {
    const sources = sourcesOf(name);
    expect(sources.length).toBeGreaterThan(3);
    expect(sources.flatMap((file) => assignedFunctions(file, readFileSync(file, 'utf8')))).toEqual([]);
  });
});
