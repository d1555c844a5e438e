// What of an access event goes into the ledger in clear, and what is somebody's? The verb, its
// outcome and the kind of thing stand in the entry; who did it and to whose data are private fields
// of these two people, so that either can be erased without touching the log. Nothing that a client
// can choose freely stands in clear.
//
//   AU1. An event whose tenant is not one of ours is nobody's: it stays in the system log, without
//        what may be personal.

export interface PrivateOf {
  /** The person whose fields these are. */
  readonly subject: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface AuditRecord {
  readonly detail: Readonly<Record<string, unknown>>;
  readonly tenant: string | undefined;
  readonly private: readonly PrivateOf[];
}

const TEXT_MAX = 256;

type Fields = Readonly<Record<string, unknown>>;

export function auditRecord(
  replica: string,
  event: unknown,
  isTenant: (id: string) => boolean,
): AuditRecord {
  const from = isFields(event) ? event : {};
  const resource = isFields(from['resource']) ? from['resource'] : {};
  const type = textOf(resource['type']) ?? 'thing';
  const detail: Fields = {
    replica,
    ...texts(from, ['action', 'outcome', 'region']),
    ...(isFields(from['resource']) ? { resource: type } : {}),
    ...(typeof from['atMs'] === 'number' ? { atMs: from['atMs'] } : {}),
  };
  const tenant = textOf(from['tenant']);
  if (tenant === undefined || !isTenant(tenant)) return { detail, tenant: undefined, private: [] };
  const actor = textOf(from['subject']);
  const id = textOf(resource['id']);
  const about: Fields = {
    ...(id === undefined ? {} : { resourceId: id }),
    ...(isFields(from['detail']) ? { detail: from['detail'] } : {}),
  };
  const people: PrivateOf[] = [];
  // The client chooses these two: whatever it writes into them must be erasable.
  const trace = texts(from, ['requestId', 'traceparent']);
  if (actor !== undefined) people.push({ subject: actor, fields: { actor, ...trace } });
  if (Object.keys(about).length > 0) {
    people.push({ subject: id === undefined ? (actor ?? type) : `${type}:${id}`, fields: about });
  }
  return { detail, tenant, private: merged(people) };
}

/** One key a person: what is about the actor alone joins the actor's own fields. */
function merged(people: readonly PrivateOf[]): readonly PrivateOf[] {
  const found = new Map<string, Fields>();
  for (const { subject, fields } of people) {
    found.set(subject, { ...found.get(subject), ...fields });
  }
  return [...found].map(([subject, fields]) => ({ subject, fields }));
}

function texts(from: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(
    names.flatMap((name) => {
      const text = textOf(from[name]);
      return text === undefined ? [] : [[name, text] as const];
    }),
  );
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.length > 0 && value.isWellFormed()
    ? value.slice(0, TEXT_MAX).toWellFormed()
    : undefined;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
