import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createReadiness, statusOf } from '../src/readiness.ts';
import { until } from './support.ts';

describe('readiness', () => {
  it('is a pure function of the phase and the dependencies; unknown is never ready', () => {
    assert.equal(statusOf('starting', ['up']), 'starting');
    assert.equal(statusOf('serving', []), 'ready');
    assert.equal(statusOf('serving', ['up', 'unknown']), 'starting');
    assert.equal(statusOf('serving', ['up', 'down']), 'unready');
    assert.equal(statusOf('draining', ['up']), 'draining');
  });

  it('R1 answers from memory: asking a thousand times runs no check', async () => {
    let checks = 0;
    const check = async (): Promise<void> => void (checks += 1);
    const readiness = createReadiness({ db: { check, intervalMs: 60_000 } });
    readiness.started();
    await until('ready', () => readiness.status() === 'ready');
    for (let i = 0; i < 1_000; i += 1) readiness.status();
    assert.equal(checks, 1);
    readiness.stop();
  });

  it('R2 takes a check that hangs for down, and starts no second one beside it', async () => {
    let running = 0;
    let most = 0;
    const check = (signal: AbortSignal): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          running -= 1;
          reject(new Error('aborted'));
        });
      });
    };
    const readiness = createReadiness({ db: { check, timeoutMs: 30, retryMs: 5 } });
    readiness.started();
    await until('unready', () => readiness.status() === 'unready');
    readiness.suspect('db');
    readiness.suspect('db');
    await until('a second round', () => most >= 1 && running === 1);
    assert.equal(most, 1);
    assert.deepEqual(readiness.dependencies(), { db: 'down' });
    readiness.stop();
  });

  it('R3 notices the recovery long before the next regular check', async () => {
    let up = true;
    const check = async (): Promise<void> => {
      if (!up) throw new Error('away');
    };
    const seen: string[] = [];
    const readiness = createReadiness({ db: { check, intervalMs: 3_600_000, retryMs: 10 } });
    readiness.onChange((status) => seen.push(status));
    readiness.started();
    await until('ready', () => readiness.status() === 'ready');
    up = false;
    readiness.suspect('db');
    await until('unready', () => readiness.status() === 'unready');
    up = true;
    await until('ready again', () => readiness.status() === 'ready');
    assert.deepEqual(seen, ['ready', 'unready', 'ready']);
    readiness.stop();
  });

  it('R4 stays draining whatever the checks say', async () => {
    let checks = 0;
    const check = async (): Promise<void> => void (checks += 1);
    const readiness = createReadiness({ db: { check, intervalMs: 1 } });
    readiness.draining();
    readiness.started();
    await until('some checks', () => checks > 3);
    assert.equal(readiness.status(), 'draining');
    readiness.stop();
  });
});
