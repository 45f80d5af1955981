// Checks every block of code in the documentation. A block under `<!-- code: FILE -->` is that file, or a part of it
// between `// #region NAME` and `// #endregion` (`FILE#NAME`). Others are checked by their language.
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readMarkdownFile } from './markdown.mjs';
import { shellProblems } from './shell.mjs';
import { typescriptProblems } from './typescript.mjs';
import { yamlProblems } from './yaml.mjs';

/** The code that a marker names, indented as if it stood alone. */
export function sourceOf(marker, root) {
  const [path, region] = marker.split('#');
  const file = join(root, path);
  if (!existsSync(file)) return undefined;
  const text = readFileSync(file, 'utf8');
  if (region === undefined) return text;
  const lines = text.split('\n');
  const start = lines.findIndex((line) => new RegExp(`#region ${region}$`).test(line));
  const end = lines.findIndex((line, index) => index > start && line.includes('#endregion'));
  if (start < 0 || end < 0) return undefined;
  const part = lines.slice(start + 1, end);
  const indent = Math.min(...part.filter((line) => line !== '').map((line) => line.search(/\S/)));
  return `${part.map((line) => line.slice(indent)).join('\n')}\n`;
}

const checks = {
  ts: () => [],
  js: () => [],
  sh: shellProblems,
  yaml: yamlProblems,
  json({ code }) {
    try {
      JSON.parse(code);
      return [];
    } catch (error) {
      return [error.message];
    }
  },
  // Output and drawings: nobody runs these.
  text: () => [],
  '': () => ['say its language; output is text'],
};

/** What is wrong with the blocks of these files. */
export async function blockProblems(files, root) {
  const problems = [];
  const code = [];
  for (const file of files) {
    const { blocks, isOpen } = readMarkdownFile(file);
    if (isOpen) problems.push(`${file.slice(root.length)}: a block of code does not end`);
    const shown = new Set(
      blocks.flatMap(({ comment }) => (comment.startsWith('code: ') ? basename(comment.slice(6)) : [])),
    );
    for (const block of blocks) {
      const where = `${file.slice(root.length)}:${block.line}`;
      const marker = /^code: (\S+)$/.exec(block.comment)?.[1];
      if (marker !== undefined) {
        const source = sourceOf(marker, root);
        if (source === undefined) problems.push(`${where}: there is no ${marker}`);
        else if (source !== block.code) problems.push(`${where}: the code is not that of ${marker}`);
        continue;
      }
      const check = checks[block.language];
      if (check === undefined) problems.push(`${where}: nothing checks "${block.language}"`);
      else problems.push(...(await check(block, root, shown)).map((problem) => `${where}: ${problem}`));
      if (block.language === 'ts' || block.language === 'js') code.push({ ...block, where });
    }
  }
  return [...problems, ...typescriptProblems(code, root)];
}
