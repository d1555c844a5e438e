// Which prose stands around the tables of docs/reference/manifest.md? Written with ´ as the mark
// of code, because a template would need a backslash before each.

function coded(text: string): string {
  return text.replaceAll('´', '`');
}

export const INTRO = coded(`# The manifest

´kintsugi.yaml´ says what Kintsugi runs, heals and proves. This page is made from the table of keys
in ´src/manifest/keys.ts´; a test fails when the two differ. ´kintsugi validate´ checks a manifest
and shows every problem in one go, each with file, line, column, what was found, what was expected
and, where it can be guessed, what was meant. ´kintsugi plan´ shows what ´up´ would change.

Two lines are a manifest:

´´´yaml
name: hello
services: { web: { command: [node, server.js] } }
´´´

They run two replicas of ´web´ behind the gateway on 127.0.0.1:8080, probed by TCP, for one tenant
called ´default´.

Editors complete and check keys with the schema beside this page. Name it in the first line:

´´´yaml
# yaml-language-server: $schema=./docs/reference/kintsugi.schema.json
´´´

The file is UTF-8 YAML 1.2 of at most 1 MiB, one document, no tabs as indent; at most 200 000
values, 24 levels and 100 aliases. A key written twice is an error. Names are 1–40 lower-case
letters, digits and dashes, start with a letter, and end with a letter or digit.
`);

const REFERENCE_ROWS: readonly (readonly [string, string])[] = [
  ['`${env:NAME}`', 'a variable of the environment of `kintsugi up`; must be set and not empty'],
  [
    '`${env:NAME:-default}`',
    'the same with a default, which may hold references; looked at only when it is used',
  ],
  ['`${secret:name}`', 'a secret; never in a command, which every user of the machine can read'],
  ['`${port:service}`', 'the port of a stateful service, or of one with a fixed port'],
  ['`${port}`', 'in a command: the port of the replica (also in the variable `PORT`)'],
  ['`${state}`', 'the absolute path of the state folder'],
  ['`${service}`, `${name}`', 'name of the service, name of the manifest'],
  ['`$${`', 'a plain `${`'],
];

export const REFERENCES = coded(`## References

Texts under ´env´, ´url´ and ´adminUrl´ of a dependency, and ´rpcUrl´ of an anchor may hold
references. They are put in at the start; the stored manifest, plans and logs hold only the
reference. A command may hold ´\${port}´, ´\${port:service}´, ´\${state}´, ´\${service}´, ´\${name}´
and ´\${env:…}´.

| reference | stands for |
| --- | --- |
${REFERENCE_ROWS.map(([reference, meaning]) => `| ${reference} | ${meaning} |`).join('\n')}

A replica gets ´PATH´ (the folder of Node first), ´HOME´, ´USER´, ´LOGNAME´, ´LANG´, ´LC_ALL´,
´LC_CTYPE´, ´TZ´, ´TMPDIR´ and the certificate variables from the environment of ´up´, what its
´env´ says, and ´PORT´ and ´KINTSUGI_…´ from Kintsugi. Nothing else of the operator's environment
reaches it.

Generated secrets lie in ´secrets/´ of the state folder, readable by its owner only, and are kept
for ever once made. A secret in a file that others may read or change is refused with the command
that mends it.
`);

export const CHECKS = coded(`## What is checked beyond single keys

- No two services, nor the gateway or the control API, on one port. A fixed port means one replica.
- A stateful service has exactly one replica, no spares and no routes; ´max´ is at least ´min´.
- Every name in ´dependsOn´, ´service´, ´dependency´ and ´\${…}´ exists, and no circle of services
  waits for itself. A variable without a default is set.
- No prefix twice (´/records/´ and ´/records´ are the same). Of prefixes that overlap, the longest
  wins. The tenants and dependencies of a route exist. A host
  name and a certificate belong to one tenant.
- Folders exist; the first word of a command is a program on the PATH or an executable file, and the
  script of ´node SCRIPT´ exists inside the source. What only a shell understands is refused.
- A policy for routes lies in the folder of the manifest or has an absolute path, names declared
  routes only, and looks at nothing but role, kind of credential, route and method
  ([identity](../guide/identity.md)). Two token issuers of one name have different audiences.
- No secret in a command: by reference, by a flag such as ´--password=…´, or inside a URL.
- Witnesses are a policy file or a list, never both; a list has each key once, with its checksum
  right, and at least as many witnesses as must cosign. Playbooks that wait for witnesses have some.
- Names of anchors are unique; ´http:´ goes to this machine only, but for time-stamp authorities and
  calendars, whose answers prove themselves. Certificates, policies, key files (mode 600) and
  folders exist; a relative policy stays inside the folder of the manifest.
- Tenants with a retention of their own exist. The high-water mark lies outside the state folder.
- A check of row-level security looks at a PostgreSQL dependency, and with ´heal: automatic´ has
  its ´adminUrl´.

Allowed, with a warning: a host other than loopback, a probe timeout longer than its interval, a
variable whose name promises a secret with a plain text as value, a framework that is not known or
not reported on, a region that no service serves, no tenant at all, a check that can be found and
not healed, an anchor inside the state folder, an ´rpcUrl´ that seems to hold a key.
`);
