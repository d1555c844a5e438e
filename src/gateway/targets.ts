// Which route does this request line mean? The answer is the same for the same method and path, so
// it is remembered by them: reading, looking up and folding a path costs microseconds.
//
//   TA1. What is remembered is what `pathOf`, `findEntry` and `foldRoute` say of the same bytes
//        under the same table; a new table empties it.
//   TA2. It is bounded: what was not used for long is forgotten first.
import type { Head } from './http/head.ts';
import { foldRoute, pathOf, plainPath } from './paths.ts';
import { isIdempotent } from './retry.ts';
import type { Entry, Routes } from './routes.ts';
import { findEntry } from './routes.ts';

const TARGETS_MAX = 2_048;
const KINDS_MAX = 4_096;
/** Longer ones are read anew each time: they are rare, and anybody can make them up. */
const LINE_CHARS_MAX = 512;

export const OWN_PREFIX = '/__kintsugi/';

/** Method and path with its ids folded: what a request is blamed and held back by. */
export interface RouteKind {
  readonly method: string;
  readonly route: string;
}

export interface Target {
  readonly method: string;
  /** As it came; and as a replica may read it. */
  readonly path: string;
  readonly plain: string;
  readonly kind: RouteKind;
  /** Undefined: no service has this path. */
  readonly entry: Entry | undefined;
  /** Is it meant for the gateway itself? */
  readonly isOwn: boolean;
  /** By its method alone. */
  readonly isIdempotent: boolean;
}

export class Targets {
  #routes: Routes | undefined;
  /** Two generations: who is asked for again moves to the younger one. */
  #young = new Map<string, Target>();
  #old = new Map<string, Target>();
  #kinds = new Map<string, RouteKind>();

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Takes over a table. */
  use(routes: Routes): void {
    this.#routes = routes;
    this.#young.clear();
    this.#old.clear();
  }

  /** Undefined: the target is not a plain path. */
  find(head: Head): Target | undefined {
    if (head.pathAt !== head.targetAt) return this.#read(head.method, head.path);
    // Method, space and path, as they came.
    const line = head.text(head.lineAt, head.queryAt);
    const known = this.#young.get(line);
    if (known !== undefined) return known;
    const target = this.#old.get(line) ?? this.#read(head.method, head.path);
    if (target === undefined) return undefined;
    if (this.#young.size >= TARGETS_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    if (line.length <= LINE_CHARS_MAX) this.#young.set(line, target);
    return target;
  }

  #read(method: string, whole: string): Target | undefined {
    const path = pathOf(whole);
    if (path === undefined) return undefined;
    // Judged as a replica may read it, in whatever spelling it came.
    const plain = plainPath(path);
    return {
      method,
      path,
      plain,
      kind: this.#kindOf(method, foldRoute(plain)),
      entry: this.#routes === undefined ? undefined : findEntry(this.#routes, plain),
      isOwn: plain.startsWith(OWN_PREFIX),
      isIdempotent: isIdempotent(method, undefined),
    };
  }

  /** One object for each kind, as long as there are not too many: others keep notes by it. */
  #kindOf(method: string, route: string): RouteKind {
    const key = `${method} ${route}`;
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    if (this.#kinds.size >= KINDS_MAX) this.#kinds.clear();
    const kind = { method, route };
    this.#kinds.set(key, kind);
    return kind;
  }
}
