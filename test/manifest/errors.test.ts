import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROBLEM_CODES } from '../../src/manifest/problem.ts';
import { SERVER, folder } from './fixture.ts';

const POLICED = `name: hello\ngateway: { policy: routes.cedar }\n${SERVER}`;

/** Manifest → the whole message, one for each code; third, the file of policies that it names. */
const GOLDEN: Readonly<Record<string, readonly [string, string, string?]>> = {
  KIN_MANIFEST_SYNTAX: [
    'name: hello\nservices:\n\tweb: {}\n',
    `kintsugi.yaml:3:1 KIN_MANIFEST_SYNTAX
  found a tab, expected spaces as indent
  did you mean two spaces?`,
  ],
  KIN_MANIFEST_UNKNOWN_KEY: [
    `name: hello\ncontrol: { prot: 1 }\n${SERVER}`,
    `kintsugi.yaml:2:12 KIN_MANIFEST_UNKNOWN_KEY
  control: found the key "prot", expected one of host, port
  did you mean port?`,
  ],
  KIN_MANIFEST_TYPE: [
    `name: hello\ncontrol: { port: "81" }\n${SERVER}`,
    `kintsugi.yaml:2:18 KIN_MANIFEST_TYPE
  control.port: found the text "81", expected a whole number from 0 to 65535
  did you mean 81?`,
  ],
  KIN_MANIFEST_UNIT: [
    'name: hello\nservices: { web: { command: [node, server.js], drain: 10 } }',
    `kintsugi.yaml:2:55 KIN_MANIFEST_UNIT
  services.web.drain: found the number 10, expected a duration such as 500ms, 2s, 5m, 24h, 30d
  did you mean 10s?`,
  ],
  KIN_MANIFEST_RANGE: [
    'name: hello\nservices: { web: { command: [node, server.js], drain: 2h } }',
    `kintsugi.yaml:2:55 KIN_MANIFEST_RANGE
  services.web.drain: found the text "2h", expected from 0ms to 1h`,
  ],
  KIN_MANIFEST_REFERENCE: [
    'name: hello\ndependencies: { postgres: { kind: tcp, url: tcp://h:1 } }\n' +
      'services: { web: { command: [node, server.js], dependsOn: [postgre] } }',
    `kintsugi.yaml:3:60 KIN_MANIFEST_REFERENCE
  services.web.dependsOn[0]: found "postgre", expected a name from dependencies (postgres)
  did you mean postgres?`,
  ],
  KIN_MANIFEST_CONFLICT: [
    'name: hello\nservices: { web: { command: [node, server.js], port: 8080 } }',
    `kintsugi.yaml:2:54 KIN_MANIFEST_CONFLICT
  services.web.port: found port 8080, expected a port of its own: gateway.port has it already
  did you mean port: 0?`,
  ],
  KIN_MANIFEST_COMMAND: [
    'name: hello\nservices: { web: { command: [node, serve.js] } }',
    `kintsugi.yaml:2:29 KIN_MANIFEST_COMMAND
  services.web.command: found "serve.js", which does not exist, expected a script that Node can load
  did you mean server.js?`,
  ],
  KIN_MANIFEST_MISSING: [
    SERVER,
    `kintsugi.yaml:1:1 KIN_MANIFEST_MISSING
  name: found nothing, expected a name: 1–40 lower-case letters, digits and dashes, ` +
      'starting with a letter: the key is required',
  ],
  KIN_MANIFEST_TOO_LARGE: [
    `name: hello\n# ${'x'.repeat(1024 * 1024)}`,
    `kintsugi.yaml KIN_MANIFEST_TOO_LARGE
  found more than 1 MiB, expected a manifest of at most 1 MiB`,
  ],
  KIN_MANIFEST_NOT_FOUND: [
    'name: hello\nservices: { web: { command: [node, server.js], source: ./nowhere } }',
    `kintsugi.yaml:2:56 KIN_MANIFEST_NOT_FOUND
  services.web.source: found "./nowhere", which is not a folder, expected a folder that exists`,
  ],
  KIN_POLICY_SYNTAX: [
    POLICED,
    `routes.cedar:2:28 KIN_POLICY_SYNTAX
  file: found an invalid variable in the policy scope: resourc (policy scopes must contain ` +
      'a `principal`, `action`, and `resource` element in that order), expected Cedar policies, ' +
      'each ended by ";"',
    '// all\npermit (principal, action, resourc);\n',
  ],
  KIN_POLICY_REFERENCE: [
    POLICED,
    `routes.cedar:3:1 KIN_POLICY_REFERENCE
  readers: found Action::"GTE", expected an action (GET, HEAD, OPTIONS, POST, PUT, ` +
      'PATCH, DELETE, OTHER, read, write)\n  did you mean Action::"GET"?',
    '\n\n@id("readers") permit (principal, action == Action::"GTE", resource);\n',
  ],
  KIN_POLICY_UNDECIDABLE: [
    POLICED,
    `routes.cedar:1:1 KIN_POLICY_UNDECIDABLE
  policy 1: found \`context.mfa\`, expected only \`action\` and \`resource\`: ` +
      'the gateway decides by role, route and method',
    'permit (principal, action, resource) when { context.mfa };',
  ],
};

for (const code of PROBLEM_CODES) {
  test(`PR1: the message of ${code} says place, found, expected and suggestion`, async (t) => {
    const [text, message, policy = ''] = GOLDEN[code] ?? ['', ''];
    const { problems } = await folder(t, { 'server.js': '', 'routes.cedar': policy });
    assert.equal((await problems(text)).text, `1 problem in the manifest\n${message}`);
  });
}

const web = (keys: string): string =>
  `name: hello\nservices: { web: { command: [node, server.js], ${keys} } }`;
const also = (keys: string): string => `name: hello\n${SERVER}\n${keys}`;

const frozen = (from: string, to: string): string =>
  `healing: { freezeWindows: [{ reason: x, from: '${from}', to: '${to}' }] }`;

/** What is wrong → the manifest and `code path` of each problem. */
const BAD: Readonly<Record<string, readonly [string, ...string[]]>> = {
  'an empty file': ['', 'TYPE '],
  'a list for a manifest': ['- a\n- b', 'TYPE '],
  'a text for a manifest': ['hello', 'TYPE '],
  'no services': ['name: a\nservices: {}', 'MISSING services'],
  'services left empty': ['name: a\nservices:', 'TYPE services'],
  'another version': [also('apiVersion: kintsugi/v2'), 'RANGE apiVersion'],
  'a doubled key': [`name: a\nname: b\n${SERVER}`, 'CONFLICT '],
  'two documents': [`name: a\n${SERVER}\n---\nname: b`, 'SYNTAX '],
  'an unclosed quote': ['name: "a\n', 'SYNTAX '],
  'an unknown alias': [`name: a\n${SERVER}\ntenants: *nobody`, 'REFERENCE '],
  'two keys in one line': ['name: a: b', 'SYNTAX '],
  'a bad name of a service': [
    'name: a\nservices: { Web: { command: node server.js } }',
    'RANGE services',
  ],
  'both spellings of a unit': [web('drain: 1s, drainMs: 1000'), 'CONFLICT services.web.drainMs'],
  'a unit in the plain spelling': [web('drainMs: 1s'), 'TYPE services.web.drainMs'],
  'a size for a duration': [web('drain: 5MiB'), 'UNIT services.web.drain'],
  'a duration for a size': [web('resources: { memory: 5s }'), 'UNIT services.web.resources.memory'],
  'a share above one': [web('slo: { availability: 99.9 }'), 'UNIT services.web.slo.availability'],
  millicores: [web('resources: { cpu: 500m }'), 'UNIT services.web.resources.cpu'],
  'a truth in words': [
    web('routes: [{ prefix: /, retry: yes }]'),
    'TYPE services.web.routes[0].retry',
  ],
  'nested values where one belongs': [web('drain: [1s]'), 'TYPE services.web.drain'],
  'one text for a list': [web('dependsOn: db'), 'TYPE services.web.dependsOn'],
  'a path without its slash': [
    web('readiness: { http: readyz }'),
    'RANGE services.web.readiness.http',
  ],
  'min above max': [web('replicas: { min: 3, max: 2 }'), 'CONFLICT services.web.replicas.max'],
  'a doubled stateful service': [
    web('kind: stateful, replicas: { min: 2, spares: 1 }'),
    'CONFLICT services.web.replicas',
    'CONFLICT services.web.replicas.spares',
  ],
  'replicas on one fixed port': [web('port: 7000, replicas: 2'), 'CONFLICT services.web.replicas'],
  'routes to a stateful service': [
    web('kind: stateful, routes: [{ prefix: / }]'),
    'CONFLICT services.web.routes',
  ],
  'a prefix twice': [
    web('routes: [{ prefix: /a }, { prefix: /a/ }]'),
    'CONFLICT services.web.routes[1].prefix',
  ],
  'a prefix with dots': [
    web('routes: [{ prefix: /a/../b }]'),
    'RANGE services.web.routes[0].prefix',
  ],
  'two probes in one': [
    web('readiness: { http: /r, tcp: true }'),
    'CONFLICT services.web.readiness.tcp',
  ],
  'no probe at all': [web('readiness: { tcp: false }'), 'CONFLICT services.web.readiness.tcp'],
  'a working folder outside': [web('cwd: ../..'), 'RANGE services.web.cwd'],
  'a working folder that is not there': [web('cwd: nowhere'), 'NOT_FOUND services.web.cwd'],
  'an environment of our own': [
    web('env: { PORT: 1, KINTSUGI_REPLICA: x }'),
    'CONFLICT services.web.env.PORT',
    'CONFLICT services.web.env.KINTSUGI_REPLICA',
  ],
  'a variable with a bad name': [web('env: { 9-LIVES: x }'), 'RANGE services.web.env'],
  'an unknown secret': [web("env: { A: '${secret:nope}' }"), 'REFERENCE services.web.env.A'],
  'an unknown reference': [web("env: { A: '${HOME}' }"), 'REFERENCE services.web.env.A'],
  'an unclosed reference': [web("env: { A: '${secret:x' }"), 'REFERENCE services.web.env.A'],
  'a variable that is not set': [
    web("env: { A: '${env:NOT_SET_HERE}' }"),
    'REFERENCE services.web.env.A',
  ],
  'the port of many': [web("env: { A: '${port:web}' }"), 'REFERENCE services.web.env.A'],
  'the own port in env': [web("env: { A: '${port}' }"), 'REFERENCE services.web.env.A'],
  'a secret without a source': [also('secrets: { a: {} }'), 'MISSING secrets.a'],
  'a secret with two sources': [also('secrets: { a: { env: A, file: b } }'), 'CONFLICT secrets.a'],
  'gateway and control on one port': [also('gateway: { port: 8081 }'), 'CONFLICT gateway.port'],
  'a dependency of a service that is not there': [
    also('dependencies: { d: { kind: tcp, service: wep } }'),
    'REFERENCE dependencies.d.service',
  ],
  'PostgreSQL without a URL': [
    also('dependencies: { d: { kind: postgres } }'),
    'MISSING dependencies.d.url',
  ],
  'a URL of another kind': [
    also('dependencies: { d: { kind: postgres, url: mysql://h/d } }'),
    'RANGE dependencies.d.url',
  ],
  'an unknown playbook': [
    also('healing: { playbooks: { reboot: off } }'),
    'REFERENCE healing.playbooks',
  ],
  'a freeze that ends first': [
    also(frozen('2026-01-02T00:00Z', '2026-01-01T00:00Z')),
    'CONFLICT healing.freezeWindows[0].to',
  ],
  'a freeze on no day': [
    also(frozen('2026-13-02T00:00Z', '2027-01-01T00:00Z')),
    'RANGE healing.freezeWindows[0].from',
  ],
  'a check of nothing': [
    also('compliance: { checks: [{ id: a, kind: rls-enforced, dependency: db }] }'),
    'REFERENCE compliance.checks[0].dependency',
  ],
  'a heal without its owner': [
    also(
      'compliance: { checks: [{ id: a, kind: rls-enforced, dependency: d, heal: automatic }] }\n' +
        'dependencies: { d: { kind: postgres, url: postgres://h/d } }',
    ),
    'MISSING dependencies.d.adminUrl',
  ],
  'keys for issuers that are not there': [
    also('gateway: { jwt: [{ issuer: i, audience: a, jwks: ./none.json }] }'),
    'NOT_FOUND gateway.jwt[0].jwks',
  ],
  'keys over plain http': [
    also('gateway: { jwt: [{ issuer: i, audience: a, jwks: http://example.com/k }] }'),
    'RANGE gateway.jwt[0].jwks',
  ],
};

for (const [what, [text, ...expected]] of Object.entries(BAD)) {
  test(`bad input: ${what}`, async (t) => {
    const { problems } = await folder(t);
    const found = await problems(text);
    assert.deepEqual(
      found.all.map((p) => `${p.code.slice(13)} ${p.path}`),
      expected,
      found.text,
    );
    for (const problem of found.all) assert.ok(problem.line >= 1 && problem.column >= 1);
  });
}

test('two services on one port: the second is named with its place', async (t) => {
  const { problems } = await folder(t);
  const one = '{ command: [node, server.js], port: 7000, routes: [] }';
  const found = await problems(`name: a\nservices:\n  a: ${one}\n  b: ${one}\n`);
  assert.deepEqual(found.short, ['CONFLICT services.b.port 4:42']);
});

test('services that wait for each other are found, with the circle in the message', async (t) => {
  const { problems } = await folder(t);
  const found = await problems(`name: a
services:
  a: { kind: stateful, command: node server.js, dependsOn: [b] }
  b: { kind: stateful, command: node server.js, dependsOn: [a] }
dependencies: { a: { kind: tcp, service: a }, b: { kind: tcp, service: b } }`);
  assert.deepEqual(found.short, ['REFERENCE services.a.dependsOn 3:60']);
  assert.match(found.text, /the circle a → b → a/);
});

test('LD1: all problems of a file are told at once, in the order of the file', async (t) => {
  const { problems } = await folder(t);
  const found = await problems(`name: Clinic
gatway: {}
services:
  web: { command: [nod, x], drain: 5, replicas: { min: 3, max: 1 } }
  api: { comand: node server.js }
tenants: { a: { quotas: { rate: 5 } } }
`);
  assert.deepEqual(found.short, [
    'RANGE name 1:7',
    'UNKNOWN_KEY  2:1',
    'COMMAND services.web.command 4:19',
    'UNIT services.web.drain 4:36',
    'CONFLICT services.web.replicas.max 4:64',
    'MISSING services.api.command 5:3',
    'UNKNOWN_KEY services.api 5:10',
    'UNIT tenants.a.quotas.rate 6:33',
  ]);
  assert.deepEqual(
    found.all.map((p) => p.suggestion),
    ['clinic', 'gateway', 'node', '5s', undefined, undefined, 'command', '5/s'],
  );
});

test('words of other tools lead to our keys', async (t) => {
  const { problems } = await folder(t);
  const found = await problems(
    web('environment: {}, depends_on: [], instances: 2, readinessProbe: {}, ports: 1, cmd: x'),
  );
  assert.deepEqual(
    found.all.map((p) => p.suggestion),
    ['env', 'dependsOn', 'replicas', 'readiness', 'port', 'command'],
  );
});

test('PR2: no message repeats a value that may be a secret', async (t) => {
  const { problems } = await folder(t);
  const texts = [
    web('env: { PASSWORD: [hunter2hunter2] }'),
    web("env: { A: '${nope} hunter2hunter2' }"),
    web('env: "hunter2hunter2"'),
    also('dependencies: { d: { kind: postgres, url: mysql://u:hunter2hunter2@h/d } }'),
    also('dependencies: { d: { kind: postgres, url: [hunter2hunter2] } }'),
    'name: a\nservices: { web: { command: [node, server.js, --token, hunter2hunter2] } }',
    'name: a\nservices: { web: { command: node server.js --db=postgres://u:hunter2hunter2@h/d } }',
    'name: a\nsecrets: { s: { env: S } }\n' +
      'services: { web: { command: [node, server.js, hunter2hunter2] } }',
    'name: a\nservices: { web: { env: { A: "hunter2hunter2 } } }',
    'name: a\nservices:\n  web:\n    env:\n      A: hunter2hunter2: x',
    'name: a\nhunter2hunter2\nservices: {}',
  ];
  for (const text of texts) {
    const found = await problems(text, { env: { PATH: process.env['PATH'], S: 'hunter2hunter2' } });
    assert.ok(found.all.length > 0, text);
    assert.ok(!found.text.includes('hunter2'), found.text);
  }
});

test('CR1: a secret in a command is refused in every form, harmless words are not', async (t) => {
  const { problems } = await folder(t);
  const command = (words: string): string =>
    'name: a\nsecrets: { s: { env: S } }\n' +
    `services: { web: { command: [node, server.js, ${words}] } }`;
  const env = { PATH: process.env['PATH'], S: 'correct-horse', DB_PASSWORD: 'x' };
  const refused = [
    "'${secret:s}'",
    "'${env:DB_PASSWORD}'",
    '--password=abc',
    '--api-key, abc',
    'postgres://u:pw@h/d',
    'x-correct-horse-x',
  ];
  for (const words of refused) {
    const codes = (await problems(command(words), { env })).all.map((p) => p.code);
    assert.deepEqual(codes, ['KIN_MANIFEST_CONFLICT'], words);
  }
  const fine = [
    '--port, "${port}"',
    '--key-file, /x',
    '--token-file=x',
    '--token=./f',
    'http://h/d',
    'key',
  ];
  for (const words of fine)
    assert.deepEqual((await problems(command(words), { env })).short, [], words);
});

test('a file that is no file, unreadable or in another encoding is told so', async (t) => {
  const { problems } = await folder(t);
  const latin = Buffer.from('name: hello\n# gr\xfc\xdfe\n', 'latin1');
  assert.deepEqual((await problems(latin)).short, ['SYNTAX  2:5']);
  const sixteen = Buffer.from('\ufeffname: hello', 'utf16le');
  assert.match((await problems(sixteen)).text, /found UTF-16.*\n.*save the file as UTF-8/);
  const marked = Buffer.from(`\ufeffname: hello\n${SERVER}`, 'utf8');
  assert.deepEqual((await problems(marked)).short, []);
});
