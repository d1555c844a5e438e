// Which bad manifests and bad commands is the shop given? Data only: what is handed in, and what
// has to be said about it. Exit statuses: docs/reference/cli.md.
import type { Refusal } from './run.ts';

export interface BadManifest extends Omit<Refusal, 'exit'> {
  readonly title: string;
  readonly text: string;
}

const line = (name: 'web' | 'stock', more: string): string =>
  `  ${name}: { source: ${name}, command: [node, server.mjs]${more} }\n`;
const service = (more: string): string => `name: shop\nservices:\n${line('web', more)}`;

export const BAD_MANIFESTS: readonly BadManifest[] = [
  {
    title: 'malformed YAML',
    text: 'name: shop\nservices:\n\tweb: {}\n',
    code: 'KIN_MANIFEST_SYNTAX',
    says: [/bad\.yaml:3:1/u, /a tab/u],
  },
  {
    title: 'unknown keys, each with what was meant',
    text: `gatway: { port: 1 }\n${service(', replica: 2')}`,
    code: 'KIN_MANIFEST_UNKNOWN_KEY',
    says: [/2 problems/u, /bad\.yaml:1:1/u, /mean gateway\?/u, /:4:\d+/u, /mean replicas\?/u],
  },
  {
    title: 'wrong units',
    text: service(', drain: 500, startup: 5 parsecs, resources: { memory: 64 }'),
    code: 'KIN_MANIFEST_UNIT',
    says: [/3 problems/u, /mean 500ms\?/u, /"5 parsecs"/u, /mean 64MiB\?/u],
  },
  {
    title: 'two services on one port',
    text: service(', port: 9100') + line('stock', ', port: 9100'),
    code: 'KIN_MANIFEST_CONFLICT',
    says: [/bad\.yaml:4:\d+/u, /port 9100/u, /services\.web\.port has it already/u],
  },
  {
    title: 'a command that does not exist',
    text: service('').replace('node,', 'nodee,'),
    code: 'KIN_MANIFEST_COMMAND',
    says: [/bad\.yaml:3:\d+/u, /"nodee", which is not on the PATH/u, /mean node\?/u],
  },
  {
    title: 'a script that leaves its folder by ..',
    text: service('').replace('server.mjs', '../stock/server.mjs'),
    code: 'KIN_MANIFEST_COMMAND',
    says: [/"\.\.\/stock\/server\.mjs", which leaves the source folder/u],
  },
  {
    title: 'a working folder that leaves its release by ..',
    text: service(', cwd: ../stock'),
    code: 'KIN_MANIFEST_RANGE',
    says: [/services\.web\.cwd: found "\.\.\/stock"/u],
  },
  {
    title: 'another manifest than the one that runs',
    text: service('').replace('name: shop', 'name: other'),
    code: 'KIN_MANIFEST_OTHER',
    says: [/belongs to another manifest/u],
  },
];

export interface BadCommand extends Refusal {
  readonly args: readonly string[];
}

const unknown = (code: string, name: string, ...args: readonly string[]): BadCommand => ({
  args,
  code,
  exit: 1,
  says: [new RegExp(`no .*${name}`, 'u')],
});

export const BAD_COMMANDS: readonly BadCommand[] = [
  unknown('KIN_RELEASE_NOT_FOUND', 'nowhere', 'deploy', 'web', '--release', 'nowhere'),
  unknown('KIN_SERVICE_UNKNOWN', 'nosuch', 'deploy', 'nosuch', '--release', 'web'),
  unknown('KIN_SERVICE_UNKNOWN', 'nosuch', 'scale', 'nosuch', '1'),
  unknown('KIN_SERVICE_UNKNOWN', 'nosuch', 'rollback', 'nosuch'),
  unknown('KIN_TENANT_UNKNOWN', 'nobody', 'tenants', 'key', 'create', 'nobody'),
  unknown('KIN_KEY_UNKNOWN', 'nokey', 'tenants', 'key', 'revoke', 'nokey'),
  unknown('KIN_TARGET_UNKNOWN', 'web-99', 'drill', 'kill', 'web-99'),
  unknown('KIN_API_NOT_FOUND', 'inc_none', 'explain', 'inc_none'),
  {
    args: ['scale', 'web', '9'],
    code: 'KIN_SCALE_RANGE',
    exit: 1,
    says: [/web may have 1 to 2 replicas/u],
  },
  {
    args: ['scale', 'web', '0'],
    code: 'KIN_USAGE',
    exit: 2,
    says: [/'0' is invalid/u],
  },
  {
    args: ['rollback', 'web'],
    code: 'KIN_ROLLBACK_INELIGIBLE',
    exit: 4,
    says: [/web cannot go back/u],
  },
];
