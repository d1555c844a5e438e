// Why can the gateway not listen? What the system says, in words that say what to do about it.
import { KinError } from '../model/errors.ts';

export function portTaken(host: string, port: number, cause?: unknown): KinError {
  return new KinError(
    'KIN_PORT_TAKEN',
    `the gateway cannot listen on ${host}:${port}, because something else does`,
    `Stop what listens there (\`ss -ltnp 'sport = :${port}'\` names it), ` +
      'or set another gateway port in the manifest.',
    { cause },
  );
}

export function listenFault(error: unknown, host: string, port: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return portTaken(host, port, error);
  if (code !== 'EACCES' && code !== 'EADDRNOTAVAIL') return error;
  return new KinError(
    'KIN_PORT_REFUSED',
    `the system does not let the gateway listen on ${host}:${port} (${code})`,
    'Choose a port above 1023 and an address of this machine in the manifest.',
    { cause: error },
  );
}
