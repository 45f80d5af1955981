#!/usr/bin/env node
import { existsSync } from 'node:fs';
import process from 'node:process';

// `inmesh … | head` closes the pipe: that is no failure of ours.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// A checked-in shim: npm links it before anything is built.
const cli = new URL('../dist/cli.js', import.meta.url);
if (existsSync(cli)) {
  const { main } = await import(cli.href);
  process.exitCode = await main(process.argv.slice(2));
} else {
  process.stderr.write('inmesh: this checkout is not built yet; run `npm run build` at its top\n');
  process.exitCode = 2;
}
