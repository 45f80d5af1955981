import { createEchoServer } from '../echo-server.js';
import { runService } from '../run-service.js';

await runService({
  framework: 'http',
  extend: (mesh, server, counts) => server.addGrpc(createEchoServer(mesh, counts)),
});
