#!/usr/bin/env node
import process from 'node:process';

// `inmesh … | head` closes the pipe: that is no failure of ours.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// A checked-in shim: npm links it before anything is built.
const { main } = await import('../dist/cli.js');
process.exitCode = await main(process.argv.slice(2));
