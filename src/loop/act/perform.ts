// Which function does which step? One line a kind; the switch is exhaustive.
import { never } from '../../model/errors.ts';
import { holdText } from '../../model/hold.ts';
import type { Step } from '../../model/plan.ts';
import type { StepAnswer, StepContext } from './ports.ts';
import { awaitReady, drain, route, start, stop } from './steps/replica.ts';
import {
  awaitDependency,
  enforceControl,
  holdTenant,
  liftQuarantine,
  markRelease,
  proveControl,
  quarantine,
  releaseTenant,
  setRelease,
  setScale,
  watch,
} from './steps/others.ts';

export function perform(step: Step, context: StepContext): Promise<StepAnswer> {
  switch (step.kind) {
    case 'start':
      return start(step, context);
    case 'await-ready':
      return awaitReady(step, context);
    case 'route':
      return route(step, context);
    case 'drain':
      return drain(step, context);
    case 'stop':
      return stop(step, context);
    case 'watch':
      return watch(step, context);
    case 'set-release':
      return setRelease(step, context);
    case 'mark-release':
      return markRelease(step, context);
    case 'set-scale':
      return setScale(step, context);
    case 'quarantine':
      return quarantine(step, context);
    case 'lift-quarantine':
      return liftQuarantine(step, context);
    case 'hold-tenant':
      return holdTenant(step, context);
    case 'release-tenant':
      return releaseTenant(step, context);
    case 'await-dependency':
      return awaitDependency(step, context);
    case 'enforce-control':
      return enforceControl(step, context);
    case 'prove-control':
      return proveControl(step, context);
    default:
      return never(step);
  }
}

export function stepText(step: Step): string {
  switch (step.kind) {
    case 'start':
      return `start ${step.replica} (${step.release})`;
    case 'await-ready':
      return `wait until ${step.replica} is ready`;
    case 'route':
      return `route ${step.weights.map((w) => `${w.replica}=${w.weight}`).join(' ')}`;
    case 'drain':
      return `drain ${step.replica}`;
    case 'stop':
      return `stop ${step.replica}`;
    case 'watch':
      return `watch ${step.release} for ${step.forMs / 1000} s`;
    case 'set-release':
      return `set ${step.service} to ${step.release}`;
    case 'mark-release':
      return `mark ${step.release} ${step.verdict}`;
    case 'set-scale':
      return `scale ${step.service} to ${step.replicas}`;
    case 'quarantine':
      return `hold back ${step.rule.method} ${step.rule.route} of ${step.rule.tenant}`;
    case 'lift-quarantine':
      return `lift ${step.id}`;
    case 'hold-tenant':
      return `hold ${step.hold.tenant}: ${holdText(step.hold)}`;
    case 'release-tenant':
      return `lift ${step.id}`;
    case 'await-dependency':
      return `wait for ${step.dependency}`;
    case 'enforce-control':
      return `enforce ${step.check}`;
    case 'prove-control':
      return `prove ${step.check}`;
    default:
      return never(step);
  }
}
