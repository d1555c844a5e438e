// How is a guessed manifest written, so that its reader learns the format from it? Every value that
// was guessed says where from; what most people want next stands there as a comment.
import type { Guessed } from './guess.ts';

export function writeGuess(guess: Guessed): string {
  return [...head(guess), ...service(guess), ...tail(guess), ''].join('\n');
}

function head(guess: Guessed): readonly string[] {
  const using = guess.framework === undefined ? '' : ` (${guess.framework})`;
  return [
    `# What Kintsugi runs, heals and proves for ${guess.name}${using}.`,
    '# Check it with `kintsugi validate`, see what would happen with `kintsugi plan`, start it',
    '# with `kintsugi up`. All keys: docs/reference/manifest.md.',
    'apiVersion: kintsugi/v1',
    `name: ${quoted(guess.name)}`,
    '',
    'gateway: { host: 127.0.0.1, port: 8080 }   # requests come in here',
    'control: { host: 127.0.0.1, port: 8081 }   # API and console',
    '',
  ];
}

function service(guess: Guessed): readonly string[] {
  const { port } = guess;
  const fixed = [
    `    # Port: ${comment(guess.portFrom)}. A fixed port allows one replica only: let the`,
    '    # program listen on the variable PORT, remove this line, and run three.',
    `    port: ${port}`,
    '    replicas: 1',
  ];
  const free = [
    `    # Each replica gets its port in the variable PORT (${comment(guess.portFrom)}).`,
    '    replicas: { min: 2, max: 4, spares: 0 }   # a spare takes over in milliseconds',
  ];
  return [
    'services:',
    `  ${guess.name}:`,
    `    # From ${comment(guess.commandFrom)}. No shell runs.`,
    `    command: [${guess.command.map(quoted).join(', ')}]`,
    ...environment(guess),
    ...(port === 0 ? free : fixed),
    ...probes(guess),
    '    startup: 30s',
    '    drain: 10s                                # time for requests inside to end',
    '    # resources: { memory: 512MiB, cpu: 1 }',
    '    routes: [{ prefix: / }]',
    '    # slo: { availability: 99.9%, latency: 300ms, latencyTarget: 99% }',
  ];
}

function environment(guess: Guessed): readonly string[] {
  const lines = [...guess.variables].map(([name, value]) => `      ${name}: ${quoted(value)}`);
  if (guess.clues.readsDatabaseUrl) {
    const reference = '${env:DATABASE_URL:-postgres://127.0.0.1/app}';
    lines.push(`      DATABASE_URL: "${reference}"   # better: a password by \${secret:name}`);
  }
  if (lines.length > 0) return ['    env:', ...lines];
  return ['    # env: { LOG_LEVEL: info, API_TOKEN: "${secret:api-token}" }'];
}

function probes(guess: Guessed): readonly string[] {
  if (guess.health === '') {
    return [
      '    # No health path was found: a connection is all that is probed. A path tells more:',
      '    # readiness: { http: /readyz, interval: 500ms, timeout: 500ms, failures: 2 }',
      '    readiness: { tcp: true }',
    ];
  }
  const times = 'interval: 500ms, timeout: 500ms, failures: 2';
  return [`    readiness: { http: ${guess.health}, ${times} }   # found in the entry file`];
}

function tail(guess: Guessed): readonly string[] {
  const database = guess.clues.postgres
    ? [
        '# The program seems to use PostgreSQL. Named here, its outages are blamed on it, and no',
        '# replica is restarted in vain:',
        '# dependencies:',
        '#   postgres: { kind: postgres, url: "${env:DATABASE_URL}" }',
        `# and under services.${guess.name}: dependsOn: [postgres]`,
        '',
      ]
    : [];
  return [
    '',
    ...database,
    '# Who may send requests; each tenant gets an API key at the first start.',
    'tenants:',
    '  default: { quotas: { rate: 100/s, burst: 200, concurrency: 50, body: 1MiB } }',
    '',
    '# `suggest` asks before each heal, `off` only watches.',
    'healing: { mode: automatic, budget: { maxUnavailable: 1, maxConcurrent: 2, maxPerHour: 30 } }',
  ];
}

/** Plain where YAML reads it back as the same text, otherwise quoted. */
function quoted(text: string): string {
  const plain =
    /^(?:--?)?[A-Za-z_./][\w./=-]*$/u.test(text) &&
    !/^(?:true|false|null|~|\.|\.inf|\.nan)$/iu.test(text);
  return plain ? text : JSON.stringify(text);
}

/** Text from a file in a comment: one line, whatever it holds. */
function comment(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ').slice(0, 80);
}
