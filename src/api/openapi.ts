// What does the OpenAPI 3.1 document say? Made from the same route list that the server serves.
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import type { FastifySchema } from 'fastify';
import type { Route } from './route.ts';
import { problem } from './schemas.ts';

export function openApiOptions(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Kintsugi control API',
        version,
        description:
          'Loopback only. Every operation takes the operator token as a bearer token; those that ' +
          'say so also take the token of an auditor or the API key of a tenant. ' +
          '`GET /v1/events` is a server-sent event stream (story, status, closed), resumable by ' +
          'Last-Event-ID; `GET /metrics` is Prometheus text; `GET /healthz` needs no token.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      tags: [
        { name: 'watch', description: 'What runs and what happens' },
        { name: 'act', description: 'What an operator may ask for' },
        { name: 'evidence', description: 'Checks and the ledger' },
        { name: 'administer', description: 'Tenants, manifest, drills, shutdown' },
      ],
      components: {
        securitySchemes: {
          operator: { type: 'http', scheme: 'bearer', bearerFormat: 'kin_op_…' },
          auditor: { type: 'http', scheme: 'bearer', bearerFormat: 'kin_au_…' },
          tenant: { type: 'http', scheme: 'bearer', bearerFormat: 'kin_<instance>_…' },
        },
      },
      security: [{ operator: [] }],
    },
    hideUntagged: true,
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json['$id'] === 'string' ? json['$id'] : `schema-${index}`,
    },
  };
}

export function operationSchema(route: Route): FastifySchema {
  return {
    operationId: route.id,
    summary: route.summary,
    tags: [route.tag],
    security: route.admits.map((kind) => ({ [kind]: [] })),
    params: route.params.json,
    querystring: route.query.json,
    ...(route.body === undefined ? {} : { body: route.body.json }),
    response: {
      200:
        route.answers === 'json'
          ? described('The answer', route.answer.json)
          : { description: 'Bytes or text, as the content type of the answer says' },
      default: described('A problem (RFC 9457) with a code and a fix', problem.json),
    },
  };
}

function described(description: string, schema: Readonly<Record<string, unknown>>): unknown {
  const type = description === 'The answer' ? 'application/json' : 'application/problem+json';
  return { description, content: { [type]: { schema } } };
}
