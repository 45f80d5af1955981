#!/usr/bin/env node
import process from 'node:process';

// A checked-in shim: npm links it before anything is built.
const { main } = await import('../dist/cli.js');
process.exitCode = await main(process.argv.slice(2));
