// Where is a time-stamp authority to test with? `openssl ts` behind a local server, with
// certificates made for the run.
import { execFile, spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Undefined when everything is there. */
export function whyNoOpenssl(): string | undefined {
  const found = spawnSync('openssl', ['version'], { encoding: 'utf8' });
  if (found.error !== undefined || found.status !== 0) return 'openssl is not on this machine';
  const { status } = spawnSync('openssl', ['ts', '-help'], { encoding: 'utf8' });
  return status === 0 ? undefined : 'this openssl has no `ts` command';
}

export type SignerKind = 'ec' | 'rsa' | 'deep' | 'expired' | 'wrong-purpose' | 'stranger';

export interface Authority {
  /** PEM of the root that the signers chain to (all but `stranger`). */
  readonly root: string;
  readonly certificate: (signer: SignerKind) => Promise<string>;
  /** DER request in, DER response out. */
  reply(signer: SignerKind, request: Buffer, digest?: string): Promise<Buffer>;
  /** A response that no honest authority makes: any signer, with or without its ESSCertID. */
  sign(signer: SignerKind, tstInfo: Buffer, isBound: boolean): Promise<Buffer>;
}

const CONFIG = `
[req]
distinguished_name = dn
prompt = no
[dn]
CN = anchors test
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[server]
basicConstraints = CA:false
extendedKeyUsage = critical,timeStamping,serverAuth
[ca]
default_ca = ca_default
[ca_default]
database = index.txt
new_certs_dir = .
serial = ca.srl
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[tsa_ec]
serial = serial
crypto_device = builtin
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
`;

export async function openAuthority(folder: string): Promise<Authority> {
  const openssl = async (...args: readonly string[]): Promise<void> => {
    await run('openssl', [...args], { cwd: folder, timeout: 30_000 });
  };
  await writeFile(join(folder, 'ca.cnf'), CONFIG);
  await writeFile(join(folder, 'index.txt'), '');
  await writeFile(join(folder, 'serial'), '01\n');
  await writeFile(join(folder, 'ca.srl'), '1000\n');
  const key = async (name: string, isRsa: boolean): Promise<void> => {
    const kind = isRsa
      ? ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']
      : ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    await openssl('genpkey', ...kind, '-out', `${name}.key`);
  };
  const root = async (name: string): Promise<void> => {
    await key(name, false);
    const args = ['-new', '-x509', '-key', `${name}.key`, '-out', `${name}.pem`, '-days', '3650'];
    await openssl(
      'req',
      ...args,
      '-config',
      'ca.cnf',
      '-extensions',
      'root',
      '-subj',
      `/CN=${name}`,
    );
  };
  const signer = async (
    name: SignerKind | 'middle',
    issuer: string,
    extensions: string,
    endsAt: string,
  ): Promise<void> => {
    await key(name, name === 'rsa');
    const subject = ['-subj', `/CN=${name}`, '-config', 'ca.cnf'];
    await openssl('req', '-new', '-key', `${name}.key`, '-out', `${name}.csr`, ...subject);
    const dates = ['-startdate', '20200101000000Z', '-enddate', endsAt];
    const by = ['-cert', `${issuer}.pem`, '-keyfile', `${issuer}.key`];
    const out = ['-in', `${name}.csr`, '-out', `${name}.pem`, '-extensions', extensions];
    await openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', ...by, ...out, ...dates);
  };
  await root('root');
  await root('other');
  await signer('middle', 'root', 'root', '20991231000000Z');
  await signer('deep', 'middle', 'tsa', '20991231000000Z');
  await signer('ec', 'root', 'tsa', '20991231000000Z');
  await signer('rsa', 'root', 'tsa', '20991231000000Z');
  await signer('expired', 'root', 'tsa', '20210101000000Z');
  await signer('stranger', 'other', 'tsa', '20991231000000Z');
  await signer('wrong-purpose', 'root', 'server', '20991231000000Z');
  let replies = 0;
  return {
    root: await readFile(join(folder, 'root.pem'), 'utf8'),
    certificate: (name) => readFile(join(folder, `${name}.pem`), 'utf8'),
    async reply(name, request, digest = 'sha256') {
      replies += 1;
      const query = `q${replies}.tsq`;
      await writeFile(join(folder, query), request);
      const by = ['-signer', `${name}.pem`, '-inkey', `${name}.key`, `-${digest}`];
      const chain = name === 'deep' ? ['-chain', 'middle.pem'] : [];
      const out = [...chain, '-queryfile', query, '-out', `${query}.tsr`];
      await openssl('ts', '-reply', '-config', 'ca.cnf', '-section', 'tsa_ec', ...by, ...out);
      return readFile(join(folder, `${query}.tsr`));
    },
    async sign(name, tstInfo, isBound) {
      await writeFile(join(folder, 'info.der'), tstInfo);
      const by = ['-signer', `${name}.pem`, '-inkey', `${name}.key`, '-md', 'sha256'];
      const kind = ['-econtent_type', '1.2.840.113549.1.9.16.1.4', '-nodetach', '-binary'];
      const out = ['-in', 'info.der', '-outform', 'DER', '-out', 'token.der', '-nosmimecap'];
      await openssl('cms', '-sign', ...by, ...kind, ...out, ...(isBound ? ['-cades'] : []));
      const token = await readFile(join(folder, 'token.der'));
      const body = Buffer.concat([Buffer.from('3003020100', 'hex'), token]);
      return Buffer.concat([Buffer.of(0x30, 0x82, body.length >> 8, body.length & 255), body]);
    },
  };
}
