// Compiles TypeScript and JavaScript of the documentation against the built packages. What a block leaves out is said
// in a comment above it that readers do not see: `<!-- given: declare const app: import('express').Express -->`.
import { join } from 'node:path';
import ts from 'typescript';

const options = {
  module: ts.ModuleKind.NodeNext,
  moduleDetection: ts.ModuleDetectionKind.Force,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noEmit: true,
  skipLibCheck: true,
};

/** What the compiler says about blocks that have `code`, `comment`, and `where` they stand (`file:line`). */
export function typescriptProblems(blocks, root) {
  const files = new Map(
    blocks.map(({ code, comment }, index) => {
      const given = /^given: (.*)$/.exec(comment)?.[1] ?? '';
      return [join(root, 'docs', `block-${index}.ts`), `${given}\n${code}`];
    }),
  );
  const host = ts.createCompilerHost({ ...options, types: ['node'] });
  const base = { ...host };
  host.getCurrentDirectory = () => root;
  host.fileExists = (file) => files.has(file) || base.fileExists(file);
  host.readFile = (file) => files.get(file) ?? base.readFile(file);
  host.getSourceFile = (file, language) =>
    files.has(file)
      ? ts.createSourceFile(file, files.get(file), language)
      : base.getSourceFile(file, language);
  const names = [...files.keys()];
  return ts
    .getPreEmitDiagnostics(ts.createProgram(names, options, host))
    .map(({ file, start, messageText }) => {
      const text = ts.flattenDiagnosticMessageText(messageText, ' ');
      const block = blocks[names.indexOf(file?.fileName)];
      if (block === undefined) return text;
      const [path, line] = block.where.split(':');
      // The first line is what is given.
      return `${path}:${Number(line) + file.getLineAndCharacterOfPosition(start).line - 1}: ${text}`;
    });
}
