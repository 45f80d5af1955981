#!/usr/bin/env node
import('../dist/cli.js').then(async (cli) => {
  process.exitCode = await cli.main(process.argv.slice(2));
});
