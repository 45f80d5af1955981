// Checks shell commands in the documentation: their syntax, and that what they name exists: npm scripts, commands of
// `inmesh` and their options, variables, files of the repository. They are not run.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveConfig, settings } from '@inmesh/config';

const { commands } = await import(new URL('../../inmesh/dist/cli.js', import.meta.url).href);

/** Programs that a reader has, or is told to have. */
const programs = new Set(
  'curl openssl grpcurl kubectl export cd cat echo grep kill git python3 for done'.split(' '),
);
/** Commands of npm that are its own. */
const npmOwn = new Set(['ci', 'install', 'test']);

/** Commands of a script: variables before them, and words. Quotes are kept as they are. */
function commandsOf(code) {
  const joined = code.replaceAll(/\\\n/g, ' ');
  return joined
    .split('\n')
    .map((line) => line.replace(/(?:^|\s)#.*$/, ''))
    .flatMap((line) => line.split(/&&|\|\||[|;]|&(?=\s|$)/))
    .map((command) => command.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? [])
    .filter((words) => words.length > 0)
    .map((words) => {
      const first = words.findIndex((word) => !/^[A-Za-z_][A-Za-z0-9_]*=/.test(word));
      const at = first < 0 ? words.length : first;
      return { variables: words.slice(0, at), words: words.slice(at) };
    });
}

function npmProblems([action, name], root) {
  if (npmOwn.has(action)) return [];
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return action === 'run' && name in scripts ? [] : [`there is no "npm ${[action, name].join(' ')}"`];
}

function inmeshProblems(words) {
  const spec = commands.find(({ name }) => name === words.slice(0, 2).join(' '));
  if (spec === undefined) return [`there is no command "inmesh ${words.slice(0, 2).join(' ')}"`];
  return words
    .filter((word) => word.startsWith('--') && !spec.usage.includes(word))
    .map((word) => `"inmesh ${spec.name}" has no option ${word}`);
}

function nodeProblems(words, root, shown) {
  const file = words.find((word) => !word.startsWith('-'));
  // `app.js` stands for the reader's own; what is built is there when this runs.
  if (file === undefined || file === 'app.js' || shown.has(file) || existsSync(join(root, file))) return [];
  return [`there is no ${file}`];
}

function commandProblems(words, root, shown) {
  const [program, ...rest] = words[0] === 'do' ? words.slice(1) : words;
  if (program === undefined) return [];
  if (program === 'npm') return npmProblems(rest, root);
  if (program === 'node') return nodeProblems(rest, root, shown);
  if (program === 'npx' && rest[0] === 'turbo') return [];
  if (program === 'npx') return commandProblems(rest, root, shown);
  if (program === 'inmesh') return inmeshProblems(rest);
  return programs.has(program) ? [] : [`nothing says what "${program}" is`];
}

/** Variables that are set, as the mesh reads them. */
function variableProblems(assignments) {
  const env = Object.fromEntries(
    assignments
      .map((word) => /^(INMESH_[A-Z0-9_]*)=(.*)$/s.exec(word))
      .filter((match) => match !== null)
      .map(([, name, value]) => [name, value.replaceAll(/^(['"])(.*)\1$/g, '$2')])
      // A variable of the shell stands for something that is right.
      .filter(([, value]) => !value.includes('$')),
  );
  const knows = (name) => settings.some(({ variable }) => variable === name);
  try {
    resolveConfig({ env: { INMESH_SERVICE_NAME: 'docs', ...env }, cwd: '/' });
    return [];
  } catch (error) {
    // Blocks show some of the variables that belong together, not all.
    return /belong together|needs/.test(error.message) && Object.keys(env).every(knows)
      ? []
      : [error.message];
  }
}

/** What is wrong with a script. `shown` are the files that the page shows. */
export function shellProblems({ code }, root, shown) {
  const { status, stderr } = spawnSync('bash', ['-n'], { input: code, encoding: 'utf8' });
  if (status !== 0) return [stderr.trim()];
  return commandsOf(code).flatMap(({ variables, words }) => [
    ...variableProblems(words[0] === 'export' ? words.slice(1) : variables),
    ...commandProblems(words, root, shown),
  ]);
}
