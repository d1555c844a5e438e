// What is there to look at after the first start? A few invented patients for each demo tenant.
// A tenant that has any patient is left alone.
import type { Client } from 'pg';

const TENANTS: Readonly<Record<string, readonly (readonly [string, string, string])[]>> = {
  northside: [
    ['Okafor', 'Adaeze', '1984-02-11'],
    ['Lindqvist', 'Elsa', '1991-07-30'],
    ['Novak', 'Petr', '1958-11-05'],
  ],
  lakeview: [
    ['Moreau', 'Camille', '1979-04-19'],
    ['Haddad', 'Yousef', '2001-09-02'],
  ],
  sunrise: [
    ['Nguyen', 'Linh', '1966-12-24'],
    ['Alvarez', 'Mateo', '2012-05-08'],
    ['Walker', 'Ruth', '1947-01-17'],
  ],
};

export async function seed(client: Client): Promise<void> {
  for (const [tenant, patients] of Object.entries(TENANTS)) {
    await client.query('begin');
    await client.query("select set_config('app.tenant', $1, true)", [tenant]);
    const { rows } = await client.query('select 1 from patients limit 1');
    if (rows.length === 0) {
      for (const person of patients) await addPatient(client, person);
    }
    await client.query('commit');
  }
}

async function addPatient(
  client: Client,
  [familyName, givenName, birthDate]: readonly [string, string, string],
): Promise<void> {
  await client.query(
    `with patient as (
       insert into patients (id, family_name, given_name, birth_date)
       values (gen_random_uuid(), $1, $2, $3) returning id
     ), note as (
       insert into notes (id, patient_id, author, body)
       select gen_random_uuid(), id, 'Dr. Example', 'First visit.' from patient
     )
     insert into invoices (id, patient_id, currency, amount_minor)
     select gen_random_uuid(), id, 'EUR', 12000 from patient`,
    [familyName, givenName, birthDate],
  );
}
