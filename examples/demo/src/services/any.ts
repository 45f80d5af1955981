import { createEchoServer } from '../echo-server.js';
import type { FrameworkName } from '../frameworks.js';
import { runService } from '../run-service.js';

// One service of whatever framework and setting the environment says; for the acceptance.
await runService({
  framework: (process.env['DEMO_FRAMEWORK'] ?? 'http') as FrameworkName,
  extend: (mesh, server, counts) => server.addGrpc(createEchoServer(mesh, counts)),
});
