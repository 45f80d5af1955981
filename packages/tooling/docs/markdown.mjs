// Reads Markdown as far as the checks and the site need it: headings with their anchors, links, blocks of code.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const skipped = new Set(['node_modules', 'dist', '.git', '.turbo', '.site', 'api']);

/** Every Markdown file below `dir` that people wrote. */
export function markdownFiles(dir) {
  return readdirSync(dir).flatMap((name) => {
    if (skipped.has(name)) return [];
    const path = join(dir, name);
    return statSync(path).isDirectory() ? markdownFiles(path) : name.endsWith('.md') ? [path] : [];
  });
}

/** The anchor of a heading: what GitHub makes of it, and our site as well. */
export function slugOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M}\p{Pc} -]/gu, '')
    .replaceAll(' ', '-');
}

/** A heading without its markup. */
function plain(heading) {
  return heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*]|\\(?=[<>_*])/g, '');
}

/**
 * What is in a text.
 *
 * Blocks have their language, code, line, and the comment right above, such as `<!-- code: FILE -->`.
 */
export function readMarkdown(text) {
  const blocks = [];
  const links = [];
  const anchors = new Set();
  let block;
  let comment = '';
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^( *)(`{3,})(\S*)/.exec(line);
    if (block !== undefined) {
      if (fence !== null && fence[3] === '' && fence[2].length >= block.fence) block = undefined;
      else block.code += `${line.startsWith(block.indent) ? line.slice(block.indent.length) : line}\n`;
      continue;
    }
    if (fence !== null) {
      block = {
        language: fence[3],
        code: '',
        line: index + 2,
        comment,
        indent: fence[1],
        fence: fence[2].length,
      };
      blocks.push(block);
      comment = '';
      continue;
    }
    const heading = /^#{1,6} +(.*)$/.exec(line);
    if (heading !== null) {
      const slug = slugOf(plain(heading[1]));
      let unique = slug;
      for (let n = 1; anchors.has(unique); n++) unique = `${slug}-${n}`;
      anchors.add(unique);
    }
    for (const [, target] of line.replaceAll(/`[^`]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g))
      links.push({ target, line: index + 1 });
    if (line.trim() !== '') comment = /^ *<!-- (.*) -->$/.exec(line)?.[1] ?? '';
  }
  return { blocks, links, anchors, isOpen: block !== undefined };
}

/** Reads a file. */
export function readMarkdownFile(file) {
  return readMarkdown(readFileSync(file, 'utf8'));
}
