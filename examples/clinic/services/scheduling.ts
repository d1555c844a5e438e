// The service `scheduling`: who sees which practitioner, and when.
//
// G1. A practitioner is never booked twice for the same moment: an exclusion constraint of the
//     database decides, so that two replicas cannot both say yes. The loser gets a 409.
import { randomUUIDv7 } from 'node:crypto';
import { Problem, conflict, notFound } from './shared/problem.ts';
import { pageOf, readPage } from './shared/input.ts';
import { param, type Answer, type Exchange, type Route } from './shared/router.ts';
import { startApp } from './shared/app.ts';

interface Appointment {
  readonly id: string;
  readonly patientId: string;
  readonly practitioner: string;
  readonly startsAt: Date;
  readonly endsAt: Date;
  readonly reason: string;
  readonly status: 'booked' | 'cancelled';
  readonly createdAt: Date;
}

const DURATION_MS_MAX = 8 * 3_600_000;
const APPOINTMENT = `id, patient_id as "patientId", practitioner, starts_at as "startsAt",
  ends_at as "endsAt", reason, status, created_at as "createdAt"`;

async function listAppointments({ tx, query }: Exchange): Promise<Answer> {
  const page = readPage(query);
  const practitioner = query.get('practitioner')?.slice(0, 100) ?? null;
  const rows = await tx.rows<Appointment>(
    `select ${APPOINTMENT} from appointments
     where ($1::uuid is null or id > $1) and ($2::text is null or practitioner = $2)
     order by id limit $3`,
    [page.after ?? null, practitioner, page.limit + 1],
  );
  return { status: 200, body: pageOf(rows, page) };
}

async function createAppointment({ tx, input }: Exchange): Promise<Answer> {
  const patientId = input.uuid('patientId');
  const practitioner = input.text('practitioner', { max: 100 });
  const startsAt = input.instant('startsAt');
  const endsAt = input.instant('endsAt');
  const reason = input.text('reason', { max: 500 });
  input.done();
  const durationMs = endsAt.getTime() - startsAt.getTime();
  if (durationMs <= 0 || durationMs > DURATION_MS_MAX) {
    throw new Problem(400, 'Bad Request', 'An appointment takes more than 0 and up to 8 hours.');
  }
  const appointment = await tx.row<Appointment>(
    `insert into appointments (id, patient_id, practitioner, starts_at, ends_at, reason)
     values ($1, $2, $3, $4, $5, $6) returning ${APPOINTMENT}`,
    [randomUUIDv7(), patientId, practitioner, startsAt, endsAt, reason],
  );
  const id = appointment?.id ?? '';
  const resource = { type: 'appointment', id };
  return { status: 201, body: appointment, resource, location: `/scheduling/appointments/${id}` };
}

async function readAppointment(exchange: Exchange): Promise<Answer> {
  const id = param(exchange, 'id');
  const appointment = await exchange.tx.row<Appointment>(
    `select ${APPOINTMENT} from appointments where id = $1`,
    [id],
  );
  if (appointment === undefined) throw notFound('appointment');
  return { status: 200, body: appointment, resource: { type: 'appointment', id } };
}

/** Frees the time; the entry stays, because a clinic must be able to show what was planned. */
async function cancelAppointment(exchange: Exchange): Promise<Answer> {
  const id = param(exchange, 'id');
  const appointment = await exchange.tx.row<Appointment>(
    `select ${APPOINTMENT} from appointments where id = $1 for update`,
    [id],
  );
  if (appointment === undefined) throw notFound('appointment');
  if (appointment.status === 'cancelled') throw conflict('It is cancelled already.');
  await exchange.tx.rows("update appointments set status = 'cancelled' where id = $1", [id]);
  return { status: 204, body: null, resource: { type: 'appointment', id } };
}

const routes: readonly Route[] = [
  {
    method: 'GET',
    pattern: '/scheduling/appointments',
    action: 'appointment.list',
    handle: listAppointments,
  },
  {
    method: 'POST',
    pattern: '/scheduling/appointments',
    action: 'appointment.create',
    handle: createAppointment,
  },
  {
    method: 'GET',
    pattern: '/scheduling/appointments/:id',
    action: 'appointment.read',
    handle: readAppointment,
  },
  {
    method: 'DELETE',
    pattern: '/scheduling/appointments/:id',
    action: 'appointment.cancel',
    handle: cancelAppointment,
  },
];

await startApp(routes);
