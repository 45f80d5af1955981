import { isMeshError } from '@inmesh/core';
import { type CliOutput, type Command, InputError, UsageError } from './command.js';

interface CommandSpec {
  readonly name: string;
  readonly usage: string;
  readonly text: string;
  readonly load: () => Promise<Command>;
}

/** Every command, as the reference shows it. */
export const commands: readonly CommandSpec[] = Object.freeze([
  {
    name: 'identity mint',
    usage: 'inmesh identity mint --service NAME [--namespace NS] [--dns NAME]... [--ttl DURATION] --out DIR',
    text: 'Writes svid.pem, key.pem and bundle.pem of the dev CA, for a program that is not ours.',
    load: async () => (await import('./commands/identity.js')).mintIdentity,
  },
  {
    name: 'identity show',
    usage: 'inmesh identity show [--json]',
    text: 'Shows the identity that a process with this environment gets.',
    load: async () => (await import('./commands/identity.js')).showIdentity,
  },
  {
    name: 'config show',
    usage: 'inmesh config show [--json]',
    text: 'Shows every setting, its value and where it came from.',
    load: async () => (await import('./commands/config.js')).showConfig,
  },
  {
    name: 'config check',
    usage: 'inmesh config check FILE...',
    text: 'Checks configuration files, or directories of them, each as INMESH_CONFIG would name it, and shows everything that is wrong.',
    load: async () => (await import('./commands/config.js')).checkConfig,
  },
  {
    name: 'config diff',
    usage: 'inmesh config diff OLD NEW',
    text: 'Shows what changes from one configuration file or directory to another.',
    load: async () => (await import('./commands/config.js')).diffConfig,
  },
  {
    name: 'config schema',
    usage: 'inmesh config schema',
    text: 'Prints the JSON Schema of a document of a configuration file, for editors.',
    load: async () => (await import('./commands/config.js')).printSchema,
  },
  {
    name: 'authz eval',
    usage: 'inmesh authz eval --vectors FILE...',
    text: 'Runs acceptance vectors of authorization and says which passed.',
    load: async () => (await import('./commands/authz.js')).evaluate,
  },
]);

function help(): string {
  const width = Math.max(...commands.map(({ usage }) => usage.length));
  return [
    'Usage: inmesh COMMAND',
    '',
    ...commands.map(({ usage, text }) => `  ${usage.padEnd(width)}  ${text}`),
  ].join('\n');
}

const console: CliOutput = {
  print: (line) => void process.stdout.write(`${line}\n`),
  complain: (line) => void process.stderr.write(`${line}\n`),
};

function asksForHelp(arg: string): boolean {
  return arg === '--help' || arg === '-h';
}

/** What went wrong, where that is the input or the system; `undefined` for anything else. */
function explain(error: unknown): string | undefined {
  if (isMeshError(error)) return `${error.code}: ${error.message}`;
  const { syscall } = error as NodeJS.ErrnoException;
  return error instanceof InputError || (error instanceof Error && syscall !== undefined)
    ? error.message
    : undefined;
}

/**
 * Runs a command line.
 *
 * @param args - Without node and script.
 * @returns the exit code: 0 done, 1 failed, 2 wrong usage.
 */
export async function main(args: readonly string[], output: CliOutput = console): Promise<number> {
  const [first = '', second = ''] = args;
  const spec = commands.find(({ name }) => name === `${first} ${second}`);
  if (first === 'help' || args.length === 0 || args.some(asksForHelp)) {
    output.print(spec === undefined ? help() : `Usage: ${spec.usage}\n\n${spec.text}`);
    return 0;
  }
  if (spec === undefined) {
    output.complain(`inmesh: there is no command "${args.slice(0, 2).join(' ')}"\n\n${help()}`);
    return 2;
  }
  try {
    const run = await spec.load();
    return await run(args.slice(2), output);
  } catch (error) {
    if (error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) {
      output.complain(`inmesh: ${(error as Error).message}\nUsage: ${spec.usage}`);
      return 2;
    }
    const text = explain(error);
    // What is left is a mistake of ours, and its stack is wanted.
    if (text === undefined) throw error;
    output.complain(`inmesh: ${text}`);
    return 1;
  }
}
