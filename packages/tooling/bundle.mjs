// Writes the JavaScript of a package: one file per entry and shared chunks, because Node spends most of an import on
// finding and opening files (measured: 40 ms instead of 83 ms for `inmesh`). Types come from tsc, beside it. Fails where
// there is a top-level await.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { parseAst } from 'rolldown/parseAst';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.values(manifest.exports).map((entry) => entry.default ?? entry);
if (manifest.bin !== undefined) entries.push('./dist/cli.js');
const input = Object.fromEntries(
  entries
    .filter((file) => file.startsWith('./dist/'))
    .map((file) => {
      const name = file.slice('./dist/'.length, -'.js'.length);
      return [name, join('src', `${name}.ts`)];
    }),
);
mkdirSync('dist', { recursive: true });
for (const name of readdirSync('dist', { recursive: true }))
  if (/\.js(?:\.map)?$/.test(name)) rmSync(join('dist', name));
// What is not ours stays an import, lazy where it was lazy.
const build = await rolldown({
  input,
  platform: 'node',
  external: (id) => !id.startsWith('.') && !id.startsWith('/'),
});
const { output } = await build.write({
  dir: 'dist',
  format: 'esm',
  sourcemap: true,
  chunkFileNames: 'chunk-[name].js',
});
await build.close();

// A module that waits cannot be required, and keeps everybody waiting who imports it.
const functions = /^(?:ArrowFunctionExpression|FunctionDeclaration|FunctionExpression)$/;
/** Where `node`, outside of every function, waits. */
function waits(node) {
  if (node === null || typeof node !== 'object' || functions.test(node.type)) return [];
  const isWait =
    node.type === 'AwaitExpression' ||
    (node.type === 'ForOfStatement' && node.await) ||
    (node.type === 'VariableDeclaration' && node.kind === 'await using');
  return [...(isWait ? [node.start] : []), ...Object.values(node).flatMap(waits)];
}
for (const { type, fileName, code } of output) {
  if (type !== 'chunk') continue;
  for (const at of waits(parseAst(code))) {
    const line = code.slice(code.lastIndexOf('\n', at) + 1).split('\n', 1)[0];
    process.stderr.write(`${manifest.name}: top-level await in dist/${fileName}: ${line.trim()}\n`);
    process.exitCode = 1;
  }
}
