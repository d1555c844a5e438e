// Which certificate is served to whom? Holds the pairs of a listener and takes up what changes on
// the disk, without a restart: the next handshake gets the new one, and who is connected stays.
//
//   CT1. A broken pair changes nothing: the one that serves goes on, and somebody is told why.
//   CT2. Files are taken up once they have stood still for one look, so that a certificate is not
//        read with the key of the one before it.
//   CT3. Each pair is on its own: one that is broken does not keep another from being renewed.
//   CT4. What was trusted before a change of the authorities is not resumed after it.
import { hash } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import type { SecureContext, SecureContextOptions } from 'node:tls';
import { KinError, messageOf } from '../../model/errors.ts';
import { printOf } from './files.ts';
import { checkTimes, contextOf, contextOptions, readAuthorities, readMaterial } from './pair.ts';
import type { Material, Terms } from './pair.ts';
import type { TicketKeys } from './tickets.ts';
import type { CertificateFiles, TlsSettings } from './settings.ts';

const DAY_MS = 86_400_000;
const LOOK_MS = 2_000;
/** From so many days on the end is told each day. */
const SOON_DAYS = 30;

/** How one certificate stands, for the controller and the log. */
export interface CertificateState {
  /** Path of its file: as the manifest has it. */
  readonly file: string;
  readonly hosts: readonly string[];
  readonly notAfterMs: number;
  /** Whole days; negative once it has ended. */
  readonly daysLeft: number;
  /** Why its files are not taken up, as a coded sentence. */
  readonly trouble: string | undefined;
}

export interface CertificatesDeps {
  readonly nowMs: () => number;
  readonly tickets: TicketKeys;
  /** A certificate was taken up, is in trouble, or ends soon. */
  readonly tell: (state: CertificateState) => void;
  /** The contexts are new: the listener takes the options of the first. */
  readonly renewed: () => void;
  readonly lookMs?: number;
}

interface Place {
  readonly files: CertificateFiles;
  material: Material;
  context: SecureContext;
  /** Of what was read or refused last. */
  print: string;
  /** Of the last look. */
  seen: string;
  trouble: string | undefined;
  toldDays: number;
}

export class Certificates {
  readonly #settings: TlsSettings;
  readonly #deps: CertificatesDeps;
  readonly #places: Place[];
  #authorities: Buffer | undefined;
  #authoritiesPrint = '';
  #authoritiesSeen = '';
  #terms: Terms;
  #ticketsUntilMs = 0;
  #byHost = new Map<string, Place>();
  #timer: NodeJS.Timeout | undefined;

  /** Throws a KinError for files that cannot be served. */
  constructor(settings: TlsSettings, deps: CertificatesDeps) {
    this.#settings = settings;
    this.#deps = deps;
    const { clientCa } = settings;
    this.#authoritiesPrint = this.#authoritiesSeen =
      clientCa === undefined ? '' : printOf([clientCa]);
    this.#authorities = clientCa === undefined ? undefined : readAuthorities(clientCa);
    this.#terms = this.#newTerms();
    this.#places = settings.certificates.map((files) => this.#open(files));
    this.#index();
  }

  /** Tells how each one stands, and goes on to look for changes. */
  start(): void {
    for (const place of this.#places) this.#tell(place);
    this.#timer ??= setInterval(() => this.look(), this.#deps.lookMs ?? LOOK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** For the listener: of the first certificate. */
  get options(): SecureContextOptions {
    const [first] = this.#places;
    if (first === undefined) throw new Error('a listener has at least one certificate');
    return contextOptions(first.material, this.#terms);
  }

  /** Undefined: the first one. */
  contextFor(host: string): SecureContext | undefined {
    const name = host.toLowerCase();
    const dot = name.indexOf('.');
    const place = this.#byHost.get(name) ?? this.#byHost.get(`*${name.slice(Math.max(dot, 0))}`);
    return place?.context;
  }

  states(): readonly CertificateState[] {
    return this.#places.map((place) => this.#stateOf(place));
  }

  /** Once an interval: has something changed, or does something end? */
  look(): void {
    const nowMs = this.#deps.nowMs();
    const asks = this.#lookAtAuthorities() || nowMs >= this.#ticketsUntilMs;
    const anew = asks && this.#renewTerms();
    const changed = this.#places.filter((place) => this.#lookAt(place, nowMs));
    if (changed.length > 0) this.#index();
    if (anew || changed.length > 0) this.#deps.renewed();
    for (const place of changed) this.#tell(place);
    for (const place of this.#places) this.#remind(place);
  }

  #open(files: CertificateFiles): Place {
    const print = printOf([files.cert, files.key]);
    const material = readMaterial(files);
    const context = contextOf(material, this.#terms);
    const none = undefined;
    const place = {
      files,
      material,
      context,
      print,
      seen: print,
      trouble: none,
      toldDays: SOON_DAYS,
    };
    // One that has ended is served at the start all the same: nothing better is there.
    return { ...place, trouble: faultOf(() => checkTimes(material, this.#deps.nowMs())) };
  }

  /** True: there is a new one. */
  #lookAt(place: Place, nowMs: number): boolean {
    const print = printOf([place.files.cert, place.files.key]);
    const stoodStill = print === place.seen;
    place.seen = print;
    if (print === place.print || !stoodStill) return false;
    place.print = print;
    const trouble = faultOf(() => {
      const material = readMaterial(place.files);
      checkTimes(material, nowMs);
      place.context = contextOf(material, this.#terms);
      place.material = material;
    });
    place.trouble = trouble;
    if (trouble === undefined) return true;
    this.#tell(place);
    return false;
  }

  /** True: others are trusted now. */
  #lookAtAuthorities(): boolean {
    const { clientCa } = this.#settings;
    if (clientCa === undefined) return false;
    const print = printOf([clientCa]);
    const stoodStill = print === this.#authoritiesSeen;
    this.#authoritiesSeen = print;
    if (print === this.#authoritiesPrint || !stoodStill) return false;
    this.#authoritiesPrint = print;
    const trouble = faultOf(() => {
      this.#authorities = readAuthorities(clientCa);
    });
    if (trouble === undefined) return true;
    const [first] = this.#places;
    if (first !== undefined) this.#deps.tell({ ...this.#stateOf(first), trouble });
    return false;
  }

  /** All contexts or none. */
  #renewTerms(): boolean {
    const trouble = faultOf(() => {
      const terms = this.#newTerms();
      const contexts = this.#places.map(({ material }) => contextOf(material, terms));
      this.#terms = terms;
      for (const [i, place] of this.#places.entries()) place.context = contexts[i] ?? place.context;
    });
    if (trouble === undefined) return true;
    for (const place of this.#places) this.#deps.tell({ ...this.#stateOf(place), trouble });
    return false;
  }

  #newTerms(): Terms {
    const { key, untilMs } = this.#deps.tickets.at(this.#deps.nowMs());
    this.#ticketsUntilMs = untilMs;
    const { minVersion, clientAuth } = this.#settings;
    const clientCa = this.#authorities;
    const trust = clientCa === undefined ? '' : hash('sha256', clientCa, 'base64url');
    // At most 32 bytes; a ticket is taken only where it is the same (CT4).
    const sessionIdContext = hash('sha256', `${clientAuth} ${trust}`, 'base64url').slice(0, 32);
    return { minVersion, clientCa, ticketKeys: key, sessionIdContext };
  }

  #index(): void {
    this.#byHost = new Map();
    // The first one that names a host has it.
    for (const place of this.#places) {
      for (const host of place.material.hosts) {
        if (!this.#byHost.has(host)) this.#byHost.set(host, place);
      }
    }
  }

  #tell(place: Place): void {
    this.#deps.tell(this.#stateOf(place));
  }

  #remind(place: Place): void {
    const { daysLeft } = this.#stateOf(place);
    if (daysLeft >= SOON_DAYS) place.toldDays = SOON_DAYS;
    if (daysLeft >= place.toldDays) return;
    place.toldDays = daysLeft;
    this.#tell(place);
  }

  #stateOf({ files, material, trouble }: Place): CertificateState {
    const { hosts, notAfterMs } = material;
    const daysLeft = Math.floor((notAfterMs - this.#deps.nowMs()) / DAY_MS);
    return { file: files.cert, hosts, notAfterMs, daysLeft, trouble };
  }
}

function faultOf(act: () => void): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error instanceof KinError ? `${error.code}: ${error.message}` : messageOf(error);
  }
}

/** Is this host one that the certificate speaks for? `host` is without its port. */
export function speaksFor(certificate: X509Certificate, host: string): boolean {
  if (host.startsWith('[')) return certificate.checkIP(host.slice(1, -1)) !== undefined;
  if (/^[\d.]+$/u.test(host)) return certificate.checkIP(host) !== undefined;
  return certificate.checkHost(host) !== undefined;
}
