// How is one operation of the API declared? Method, path, what it takes, what it answers, and a
// function from the checked input and the port to the answer. `server.ts` does the rest.
//
//   RT1. An operation is the operator's alone unless it names who else is admitted, and then it
//        says what is asked of whose log, so that it can be decided.
import type { AuditorBook } from '../tenancy/auditors.ts';
import type { NotePort } from '../tenancy/notes.ts';
import type { Asked, Principal, PrincipalKind } from '../tenancy/principal.ts';
import type { EvidencePort } from './evidence-port.ts';
import type { Actor, ControlPort } from './port.ts';
import type { Schema } from './schema.ts';
import { anything, object } from './schema.ts';

export interface Input<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly control: ControlPort;
  /** Only for operations of `EVIDENCE_ROUTES`, which are served where there is one. */
  readonly evidence: () => EvidenceParts;
  readonly actor: Actor;
  readonly principal: Principal;
}

export interface EvidenceParts {
  readonly port: EvidencePort;
  readonly auditors: AuditorBook;
  /** Queued into the ledger, never awaited. */
  readonly note: NotePort;
}

/** What an answer that is no JSON consists of. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Pieces of text are streamed; the first is awaited, so that a refusal is still a problem. */
  readonly body: Uint8Array | AsyncIterable<string>;
}

export type Question<P, Q, B> = Pick<Input<P, Q, B>, 'params' | 'query' | 'body'>;

export interface Route {
  readonly id: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
  readonly tag: string;
  readonly summary: string;
  readonly params: Schema<unknown>;
  readonly query: Schema<unknown>;
  /** Undefined: the request has no body that counts. */
  readonly body: Schema<unknown> | undefined;
  readonly answer: Schema<unknown>;
  readonly answers: 'json' | 'raw';
  readonly admits: readonly PrincipalKind[];
  readonly asks: (question: Question<unknown, unknown, unknown>) => readonly Asked[];
  readonly run: (input: Input<unknown, unknown, unknown>) => unknown;
}

export interface RouteSpec<P, Q, B, A> {
  readonly id: string;
  readonly url: string;
  readonly tag: string;
  readonly summary: string;
  readonly params?: Schema<P>;
  readonly query?: Schema<Q>;
  readonly body?: Schema<B>;
  readonly answer: Schema<A>;
  /** Beside the operator. */
  readonly admits?: readonly Exclude<PrincipalKind, 'operator'>[];
  /** Left out: nothing of the evidence is asked for, so being the operator is enough. */
  readonly asks?: (question: Question<P, Q, B>) => readonly Asked[];
  readonly run: (input: Input<P, Q, B>) => A | Promise<A>;
}

export interface RawRouteSpec<P, Q, B> extends Omit<RouteSpec<P, Q, B, never>, 'answer' | 'run'> {
  readonly run: (input: Input<P, Q, B>) => RawAnswer | Promise<RawAnswer>;
}

type Nothing = Readonly<Record<string, never>>;
const nothing = object<Nothing>({});

function route<P, Q, B, A>(method: Route['method'], spec: RouteSpec<P, Q, B, A>): Route {
  const { admits = [], asks = () => [] } = spec;
  // RT1.
  if (admits.length > 0 && spec.asks === undefined) {
    throw new Error(`assertion failed: ${spec.id} admits others and asks nothing`);
  }
  return {
    id: spec.id,
    method,
    url: spec.url,
    tag: spec.tag,
    summary: spec.summary,
    params: (spec.params ?? nothing) as Schema<unknown>,
    query: (spec.query ?? nothing) as Schema<unknown>,
    body: spec.body as Schema<unknown> | undefined,
    answer: spec.answer as Schema<unknown>,
    answers: 'json',
    admits: ['operator', ...admits],
    asks: (question) => asks(question as Question<P, Q, B>),
    // The input was validated against exactly these schemas before `run` is called.
    run: (input) => spec.run(input as Input<P, Q, B>),
  };
}

export const get = <P = Nothing, Q = Nothing, A = unknown>(
  spec: RouteSpec<P, Q, undefined, A>,
): Route => route('GET', spec);
export const post = <P = Nothing, B = Nothing, A = unknown, Q = Nothing>(
  spec: RouteSpec<P, Q, B, A>,
): Route => route('POST', spec);
export const remove = <P = Nothing, A = unknown>(
  spec: RouteSpec<P, Nothing, undefined, A>,
): Route => route('DELETE', spec);

/** What comes back is told by its content type; the schema says no more than that. */
export function raw<P = Nothing, Q = Nothing, B = undefined>(
  method: Route['method'],
  spec: RawRouteSpec<P, Q, B>,
): Route {
  // The answer goes past the JSON serializer, so its type does not matter there.
  const answer = anything as Schema<RawAnswer>;
  return { ...route<P, Q, B, RawAnswer>(method, { ...spec, answer }), answers: 'raw' };
}
