// Checks that every link between files leads somewhere, to the heading it names.
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { readMarkdownFile } from './markdown.mjs';

/** Links of these files that lead nowhere. Links to other hosts are not followed. */
export function linkProblems(files, root) {
  const problems = [];
  const pages = new Map();
  const pageOf = (file) => {
    if (!pages.has(file)) pages.set(file, readMarkdownFile(file));
    return pages.get(file);
  };
  for (const file of files) {
    for (const { target, line } of pageOf(file).links) {
      if (/^(?:https?:|mailto:)/.test(target)) continue;
      const where = `${file.slice(root.length)}:${line}`;
      const [path, anchor] = target.split('#');
      const goal = path === '' ? file : resolve(dirname(file), path);
      if (!existsSync(goal)) problems.push(`${where}: ${target} does not exist`);
      else if (anchor !== undefined && (!goal.endsWith('.md') || !pageOf(goal).anchors.has(anchor)))
        problems.push(`${where}: ${path || 'this page'} has no heading #${anchor}`);
      else if (path.endsWith('/') !== statSync(goal).isDirectory() && path !== '')
        problems.push(
          `${where}: ${target} ${path.endsWith('/') ? 'is a file' : 'is a folder; end it with /'}`,
        );
    }
  }
  return problems;
}
