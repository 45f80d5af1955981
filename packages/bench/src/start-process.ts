// One fresh process per measurement: prints the CPU it took, in microseconds.
const what = process.argv[2];
const usage = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const before = usage();
if (what === 'undici') await import('undici');
else if (what === 'inmesh') await import('inmesh');
else if (what === 'ready') {
  const { createMesh } = await import('inmesh');
  const mesh = await createMesh();
  const { body } = await mesh.dispatcher.request({ origin: 'http://server', path: '/s1/v1', method: 'GET' });
  await body.text();
}
process.stdout.write(String(usage() - before));
process.exit(0);
