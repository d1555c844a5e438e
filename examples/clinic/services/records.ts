// The service `records`: patients of a clinic and the notes about them.
import { randomUUIDv7 } from 'node:crypto';
import { conflict, notFound, Problem } from './shared/problem.ts';
import { pageOf, readPage } from './shared/input.ts';
import { param, type Answer, type Exchange, type Route } from './shared/router.ts';
import { startApp } from './shared/app.ts';

interface Patient {
  readonly id: string;
  readonly familyName: string;
  readonly givenName: string;
  readonly birthDate: string;
  readonly email: string | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

const PATIENT = `id, family_name as "familyName", given_name as "givenName",
  birth_date::text as "birthDate", email, version, created_at as "createdAt",
  updated_at as "updatedAt"`;
const NOTE = `id, patient_id as "patientId", author, body, created_at as "createdAt"`;

async function listPatients({ tx, query }: Exchange): Promise<Answer> {
  const page = readPage(query);
  const name = query.get('familyName')?.slice(0, 100) ?? null;
  const rows = await tx.rows<Patient>(
    `select ${PATIENT} from patients
     where ($1::uuid is null or id > $1) and ($2::text is null or family_name = $2)
     order by id limit $3`,
    [page.after ?? null, name, page.limit + 1],
  );
  return { status: 200, body: pageOf(rows, page) };
}

async function createPatient({ tx, input }: Exchange): Promise<Answer> {
  const familyName = input.text('familyName', { max: 100 });
  const givenName = input.text('givenName', { max: 100 });
  const birthDate = input.day('birthDate');
  const email = input.optionalText('email', { max: 254 }) ?? null;
  input.done();
  const patient = await tx.row<Patient>(
    `insert into patients (id, family_name, given_name, birth_date, email)
     values ($1, $2, $3, $4, $5) returning ${PATIENT}`,
    [randomUUIDv7(), familyName, givenName, birthDate, email],
  );
  const id = patient?.id ?? '';
  const resource = { type: 'patient', id };
  return { status: 201, body: patient, resource, location: `/records/patients/${id}` };
}

async function readPatient(exchange: Exchange): Promise<Answer> {
  const id = param(exchange, 'id');
  const patient = await exchange.tx.row<Patient>(`select ${PATIENT} from patients where id = $1`, [
    id,
  ]);
  if (patient === undefined) throw notFound('patient');
  return { status: 200, body: patient, resource: { type: 'patient', id } };
}

/** Changes what is given. `version` is what the caller read: nobody overwrites unseen changes. */
async function changePatient(exchange: Exchange): Promise<Answer> {
  const { tx, input } = exchange;
  const id = param(exchange, 'id');
  const version = input.integer('version', { min: 1, max: 2 ** 31 - 1 });
  const familyName = input.optionalText('familyName', { max: 100 }) ?? null;
  const givenName = input.optionalText('givenName', { max: 100 }) ?? null;
  const email = input.optionalText('email', { max: 254 }) ?? null;
  input.done();
  const patient = await tx.row<Patient>(
    `update patients set family_name = coalesce($3, family_name),
       given_name = coalesce($4, given_name), email = coalesce($5, email),
       version = version + 1, updated_at = now()
     where id = $1 and version = $2 returning ${PATIENT}`,
    [id, version, familyName, givenName, email],
  );
  if (patient !== undefined) {
    return { status: 200, body: patient, resource: { type: 'patient', id } };
  }
  const present = await tx.row('select 1 from patients where id = $1', [id]);
  throw present === undefined ? notFound('patient') : conflict('Somebody changed it meanwhile.');
}

async function listNotes(exchange: Exchange): Promise<Answer> {
  const { tx, query } = exchange;
  const patientId = param(exchange, 'id');
  const page = readPage(query);
  const rows = await tx.rows<{ id: string }>(
    `select ${NOTE} from notes where patient_id = $1 and ($2::uuid is null or id > $2)
     order by id limit $3`,
    [patientId, page.after ?? null, page.limit + 1],
  );
  return {
    status: 200,
    body: pageOf(rows, page),
    resource: { type: 'patient', id: patientId },
  };
}

async function createNote(exchange: Exchange): Promise<Answer> {
  const { tx, input } = exchange;
  const patientId = param(exchange, 'id');
  const author = input.text('author', { max: 100 });
  const body = input.text('body', { max: 10_000 });
  input.done();
  const patient = await tx.row('select 1 from patients where id = $1', [patientId]);
  if (patient === undefined) throw notFound('patient');
  const note = await tx.row<{ id: string }>(
    `insert into notes (id, patient_id, author, body) values ($1, $2, $3, $4)
     returning ${NOTE}`,
    [randomUUIDv7(), patientId, author, body],
  );
  if (note === undefined) throw new Problem(500, 'Internal Server Error', 'Nothing was stored.');
  return { status: 201, body: note, resource: { type: 'note', id: note.id } };
}

const routes: readonly Route[] = [
  { method: 'GET', pattern: '/records/patients', action: 'patient.list', handle: listPatients },
  { method: 'POST', pattern: '/records/patients', action: 'patient.create', handle: createPatient },
  { method: 'GET', pattern: '/records/patients/:id', action: 'patient.read', handle: readPatient },
  {
    method: 'PATCH',
    pattern: '/records/patients/:id',
    action: 'patient.change',
    handle: changePatient,
  },
  {
    method: 'GET',
    pattern: '/records/patients/:id/notes',
    action: 'note.list',
    handle: listNotes,
  },
  {
    method: 'POST',
    pattern: '/records/patients/:id/notes',
    action: 'note.create',
    handle: createNote,
  },
];

await startApp(routes);
