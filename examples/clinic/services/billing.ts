// The service `billing`: invoices of a clinic and the payments on them.
//
// M1. Money is an integer of minor units (cents), never a fraction.
// M2. A payment is never booked twice: its Idempotency-Key is mandatory.
// M3. An invoice is never overpaid, also not by two payments at the same moment: its row is
//     locked while the rest is worked out.
import { randomUUIDv7 } from 'node:crypto';
import { conflict, notFound } from './shared/problem.ts';
import { pageOf, readPage } from './shared/input.ts';
import { param, type Answer, type Exchange, type Route } from './shared/router.ts';
import { startApp } from './shared/app.ts';

interface Invoice {
  readonly id: string;
  readonly patientId: string;
  readonly currency: string;
  readonly amountMinor: number;
  readonly paidMinor: number;
  readonly status: 'open' | 'paid';
  readonly createdAt: Date;
}

const AMOUNT_MINOR_MAX = 1_000_000_000;
const INVOICE = `id, patient_id as "patientId", currency, amount_minor as "amountMinor",
  paid_minor as "paidMinor", status, created_at as "createdAt"`;
const PAYMENT = `id, invoice_id as "invoiceId", amount_minor as "amountMinor", method,
  created_at as "createdAt"`;

async function listInvoices({ tx, query }: Exchange): Promise<Answer> {
  const page = readPage(query);
  const status = query.get('status')?.slice(0, 10) ?? null;
  const rows = await tx.rows<Invoice>(
    `select ${INVOICE} from invoices
     where ($1::uuid is null or id > $1) and ($2::text is null or status = $2)
     order by id limit $3`,
    [page.after ?? null, status, page.limit + 1],
  );
  return { status: 200, body: pageOf(rows, page) };
}

async function createInvoice({ tx, input }: Exchange): Promise<Answer> {
  const patientId = input.uuid('patientId');
  const currency = input.oneOf('currency', ['EUR', 'USD']);
  const amountMinor = input.integer('amountMinor', { min: 1, max: AMOUNT_MINOR_MAX });
  input.done();
  const invoice = await tx.row<Invoice>(
    `insert into invoices (id, patient_id, currency, amount_minor) values ($1, $2, $3, $4)
     returning ${INVOICE}`,
    [randomUUIDv7(), patientId, currency, amountMinor],
  );
  const id = invoice?.id ?? '';
  const resource = { type: 'invoice', id };
  return { status: 201, body: invoice, resource, location: `/billing/invoices/${id}` };
}

async function readInvoice(exchange: Exchange): Promise<Answer> {
  const id = param(exchange, 'id');
  const invoice = await exchange.tx.row<Invoice>(`select ${INVOICE} from invoices where id = $1`, [
    id,
  ]);
  if (invoice === undefined) throw notFound('invoice');
  return { status: 200, body: invoice, resource: { type: 'invoice', id } };
}

async function listPayments(exchange: Exchange): Promise<Answer> {
  const { tx, query } = exchange;
  const invoiceId = param(exchange, 'id');
  const page = readPage(query);
  const rows = await tx.rows<{ id: string }>(
    `select ${PAYMENT} from payments where invoice_id = $1 and ($2::uuid is null or id > $2)
     order by id limit $3`,
    [invoiceId, page.after ?? null, page.limit + 1],
  );
  return {
    status: 200,
    body: pageOf(rows, page),
    resource: { type: 'invoice', id: invoiceId },
  };
}

async function createPayment(exchange: Exchange): Promise<Answer> {
  const { tx, input } = exchange;
  const invoiceId = param(exchange, 'id');
  const amountMinor = input.integer('amountMinor', { min: 1, max: AMOUNT_MINOR_MAX });
  const method = input.oneOf('method', ['card', 'transfer', 'cash']);
  input.done();
  const invoice = await tx.row<{ amount_minor: number; paid_minor: number }>(
    'select amount_minor, paid_minor from invoices where id = $1 for update',
    [invoiceId],
  );
  if (invoice === undefined) throw notFound('invoice');
  const openMinor = invoice.amount_minor - invoice.paid_minor;
  if (amountMinor > openMinor) throw conflict(`Only ${openMinor} is still open.`);
  const payment = await tx.row<{ id: string }>(
    `insert into payments (id, invoice_id, amount_minor, method) values ($1, $2, $3, $4)
     returning ${PAYMENT}`,
    [randomUUIDv7(), invoiceId, amountMinor, method],
  );
  await tx.rows(
    `update invoices set paid_minor = paid_minor + $2,
       status = case when paid_minor + $2 = amount_minor then 'paid' else 'open' end
     where id = $1`,
    [invoiceId, amountMinor],
  );
  return { status: 201, body: payment, resource: { type: 'payment', id: payment?.id ?? '' } };
}

const routes: readonly Route[] = [
  { method: 'GET', pattern: '/billing/invoices', action: 'invoice.list', handle: listInvoices },
  { method: 'POST', pattern: '/billing/invoices', action: 'invoice.create', handle: createInvoice },
  { method: 'GET', pattern: '/billing/invoices/:id', action: 'invoice.read', handle: readInvoice },
  {
    method: 'GET',
    pattern: '/billing/invoices/:id/payments',
    action: 'payment.list',
    handle: listPayments,
  },
  {
    method: 'POST',
    pattern: '/billing/invoices/:id/payments',
    action: 'payment.create',
    idempotency: 'required',
    handle: createPayment,
  },
];

await startApp(routes);
