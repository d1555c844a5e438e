// How is one operation of the API declared? Method, path, what it takes, what it answers, and a
// function from the checked input and the port to the answer. `server.ts` does the rest.
import type { Actor, ControlPort } from './port.ts';
import type { Schema } from './schema.ts';
import { object } from './schema.ts';

export interface Input<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly control: ControlPort;
  readonly actor: Actor;
}

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
  readonly run: (input: Input<P, Q, B>) => A | Promise<A>;
}

type Nothing = Readonly<Record<string, never>>;
const nothing = object<Nothing>({});

function route<P, Q, B, A>(method: Route['method'], spec: RouteSpec<P, Q, B, A>): Route {
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
    // The input was validated against exactly these schemas before `run` is called.
    run: (input) => spec.run(input as Input<P, Q, B>),
  };
}

export const get = <P = Nothing, Q = Nothing, A = unknown>(
  spec: RouteSpec<P, Q, undefined, A>,
): Route => route('GET', spec);
export const post = <P = Nothing, B = Nothing, A = unknown>(
  spec: RouteSpec<P, Nothing, B, A>,
): Route => route('POST', spec);
export const remove = <P = Nothing, A = unknown>(
  spec: RouteSpec<P, Nothing, undefined, A>,
): Route => route('DELETE', spec);
