// Which signals are part of the story? Facts, not samples: exits, ejections, a step of the clock.
import { count } from '../model/words.ts';
import { exitText } from '../model/replica.ts';
import type { GatewayEvent, Signal } from '../model/signal.ts';
import type { Fact } from './record/record.ts';
import type { LoopState } from './state.ts';

export function tellSignal(state: LoopState, signal: Signal): void {
  switch (signal.kind) {
    case 'exited': {
      const view = state.canvas.replicas.get(signal.replica);
      if (view === undefined || view.phase !== 'ready') return;
      state.recorder.tell({
        entry: undefined,
        kind: 'replica.exited',
        service: view.service,
        text: `${signal.replica}: ${exitText(signal.exit)}`,
        data: signal,
      });
      return;
    }
    case 'gateway': {
      const fact = gatewayFact(signal.event);
      if (fact !== undefined) state.recorder.tell(fact);
      return;
    }
    case 'clock-jumped':
      state.recorder.tell({
        entry: 'clock.jumped',
        kind: 'clock.jumped',
        text:
          `the wall clock jumped by ${(signal.byMs / 1000).toFixed(1)} s; ` +
          'judgement goes by the monotonic clock',
        data: signal,
      });
      return;
    default:
  }
}

function gatewayFact(event: GatewayEvent): Fact | undefined {
  switch (event.kind) {
    case 'ejected':
      return {
        entry: 'gateway.ejected',
        kind: 'gateway.ejected',
        text: `gateway ejected ${event.replica} (${event.reason}): ${event.detail}`,
        data: event,
      };
    case 'returned':
      return {
        entry: 'gateway.returned',
        kind: 'gateway.returned',
        text: `gateway routes to ${event.replica} again`,
        data: event,
      };
    case 'poison-held': {
      const { tenant, method, route } = event.suspect;
      return {
        entry: 'gateway.held',
        kind: 'gateway.held',
        text: `gateway holds back ${method} ${route} of ${tenant} after ${event.deaths} deaths`,
        data: event,
      };
    }
    case 'crossed':
      return {
        entry: 'gateway.crossed',
        kind: 'gateway.crossed',
        text:
          `${count(event.requests, 'request')} of ${event.tenant} to ${event.service} refused: ` +
          event.crossing,
        data: event,
      };
    case 'certificate':
      return {
        entry: undefined,
        kind: 'gateway.certificate',
        text:
          event.trouble === undefined
            ? `${event.file} at ${event.worker} holds for ${count(event.daysLeft, 'day')}`
            : `${event.file} at ${event.worker} is not taken up: ${event.trouble}`,
        data: event,
      };
    case 'keys-wanted':
      return {
        entry: undefined,
        kind: 'gateway.keys-wanted',
        text: `a token of ${event.issuer} names a key that is not known: its keys are read again`,
        data: event,
      };
    case 'connected':
    case 'disconnected':
      return {
        entry: undefined,
        kind: `gateway.${event.kind}`,
        text: `gateway ${event.worker} ${event.kind}`,
        data: event,
      };
    case 'died-serving':
      return {
        entry: undefined,
        kind: 'gateway.died-serving',
        text: `${event.replica} died with ${count(event.suspects.length, 'request')} inside`,
        data: event,
      };
  }
}
