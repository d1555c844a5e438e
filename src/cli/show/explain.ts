// How is the story of an incident told? Signals → findings → diagnosis → plan or refusal and why →
// steps with times → verdict → proofs; every time is relative to the first finding.
import type { DecisionView, IncidentStory, RunStory, StepView } from '../../api/contract.ts';
import { harmless } from '../style.ts';
import type { Paint } from '../style.ts';
import { dateText, durationText, indent, offsetText, table, wrap } from '../text.ts';
import { stateText } from './status.ts';

export function showStory(story: IncidentStory, paint: Paint, width: number): string[] {
  const { incident } = story;
  const begin = incident.openedAtMs;
  const text = Math.max(40, Math.min(width, 100) - 4);
  const took =
    incident.healedAtMs === undefined
      ? ''
      : ` · took ${durationText(incident.healedAtMs - incident.openedAtMs)}`;
  return [
    `${paint.bold(harmless(incident.title))}`,
    `${paint.dim(incident.id)} · ${stateText(incident, paint)}${took} · ` +
      paint.dim(`began ${dateText(begin)}`),
    ...chapter('What was seen', findingLines(story, begin, paint), paint),
    ...chapter('What it is', hypothesisLines(story, text, paint), paint),
    ...chapter('What was decided, and why', decisionLines(story, begin, text, paint), paint),
    ...story.runs.flatMap((run) =>
      chapter(`What was done (${run.run.playbook})`, runLines(run, begin, text, paint), paint),
    ),
    ...chapter('How it stands', wrap(harmless(incident.now), text), paint),
    ...chapter('Evidence', proofLines(story, paint), paint),
  ];
}

function chapter(title: string, lines: readonly string[], paint: Paint): string[] {
  return lines.length === 0 ? [] : ['', paint.gold(title), ...indent(lines)];
}

const sure = (confidence: number): string => `${Math.round(confidence * 100)} %`;

function findingLines(story: IncidentStory, begin: number, paint: Paint): string[] {
  return story.findings.flatMap((finding) => [
    `${offsetText(finding.sinceMs, begin)}  ${paint.bold(finding.kind)} of ` +
      `${harmless(finding.subject)} ${paint.dim(`(${sure(finding.confidence)} sure)`)}`,
    ...indent(
      finding.evidence.map((line) => `· ${harmless(line)}`),
      '    ',
    ),
  ]);
}

function hypothesisLines(story: IncidentStory, width: number, paint: Paint): string[] {
  return story.hypotheses.flatMap((hypothesis, i) => {
    const what = `${hypothesis.kind} ${harmless(hypothesis.subject)}`;
    const share = sure(hypothesis.confidence).padStart(5);
    const first = `${share}  ${i === 0 ? paint.bold(what) : what}`;
    return [first, ...indent(wrap(harmless(hypothesis.why), width - 7), '       ')];
  });
}

function decisionLines(story: IncidentStory, begin: number, width: number, paint: Paint): string[] {
  return story.decisions.flatMap((decision) => {
    const at = offsetText(decision.atMs, begin);
    return [`${at}  ${headOf(decision, paint)}`, ...indent(wrap(bodyOf(decision), width), '    ')];
  });
}

function headOf(decision: DecisionView, paint: Paint): string {
  if (decision.kind === 'plan') return `${paint.green('plan')} ${paint.bold(decision.playbook)}`;
  const asked = decision.escalate ? ', a person is asked' : '';
  return `${paint.gold('nothing done')}: ${decision.reason}${asked}`;
}

function bodyOf(decision: DecisionView): string {
  if (decision.kind === 'refusal') return harmless(decision.detail);
  const { disrupts } = decision;
  const cost = disrupts === 0 ? 'takes no available replica away' : `takes ${disrupts} away`;
  return harmless(`${decision.summary} (${cost})`);
}

function runLines(story: RunStory, begin: number, width: number, paint: Paint): string[] {
  const { run } = story;
  const intent =
    story.intentIndex === undefined
      ? paint.red('no intent in the ledger')
      : `intent is ledger entry ${story.intentIndex}`;
  return [
    `${paint.dim(`${run.id} · ${run.state} · `)}${paint.dim(intent)}`,
    ...table(story.steps.map((step) => stepRow(step, begin, paint))),
    ...(run.failure === undefined ? [] : [paint.red(`failed: ${harmless(run.failure)}`)]),
    ...verdictLines(story, width, paint),
  ];
}

function stepRow(step: StepView, begin: number, paint: Paint): string[] {
  const { record } = step;
  const text = harmless(step.key.startsWith('undo') ? `undo: ${step.text}` : step.text);
  if (record === undefined) return ['', paint.dim('·'), paint.dim(text), '', ''];
  const marks = { done: paint.green('✓'), failed: paint.red('✗'), intended: paint.cyan('…') };
  return [
    offsetText(record.atWallMs, begin),
    marks[record.state],
    text,
    record.tookMs === undefined ? '' : durationText(record.tookMs),
    paint.dim(harmless(record.detail)),
  ];
}

function verdictLines(story: RunStory, width: number, paint: Paint): string[] {
  const { verdict } = story.run;
  if (verdict === undefined) return [];
  const word = verdict.kind === 'healed' ? paint.green('healed') : paint.red(verdict.kind);
  return [
    `verdict: ${word} ${paint.dim(`(${durationText(verdict.tookMs)} after the first finding)`)}`,
    ...indent(
      verdict.reasons.flatMap((reason) => wrap(`· ${harmless(reason)}`, width)),
      '    ',
    ),
  ];
}

function proofLines(story: IncidentStory, paint: Paint): string[] {
  if (story.proofs.length === 0) return [];
  const first = story.proofs[0]?.index ?? 0;
  return [
    ...table(
      story.proofs.map((proof) => [`#${proof.index}`, proof.kind, paint.dim(proof.leafHash ?? '')]),
    ),
    paint.dim(`verify: kintsugi ledger verify · kintsugi ledger prove ${first}`),
  ];
}
