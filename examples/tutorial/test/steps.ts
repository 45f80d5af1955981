/** A thing that the tutorial tells its reader to do. */
export type Step =
  | { readonly kind: 'run'; readonly code: string; readonly expected: string }
  | { readonly kind: 'start'; readonly terminal: string; readonly code: string }
  | { readonly kind: 'stop'; readonly terminal: string };

/**
 * The steps of a page. A block under `<!-- terminal: NAME -->` is a program that runs on, until the terminal is used
 * again or `<!-- stop: NAME -->`; other blocks print what the block of text after them shows.
 */
export function stepsOf(page: string): readonly Step[] {
  const steps: Step[] = [];
  const form = /(?:<!-- (terminal|stop): (\S+) -->\n)?```sh\n([\s\S]*?)```\n(?:\n```text\n([\s\S]*?)```\n)?/g;
  for (const [, marker, terminal = '', code = '', expected = ''] of page.matchAll(form)) {
    if (code.startsWith('npm install')) continue;
    if (marker === 'terminal') {
      steps.push({ kind: 'start', terminal, code });
      continue;
    }
    if (marker === 'stop') steps.push({ kind: 'stop', terminal });
    steps.push({ kind: 'run', code, expected });
  }
  return steps;
}
