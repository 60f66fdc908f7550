/** Asks examiner.ts; an examiner that a damaged file took down is an answer, too. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Examination, ExaminationRequest } from './examination.ts';

export const SOURCE_ARGS = ['--conditions=source', '--import', 'tsx'];

type Answer = { examination: Examination } | { error: string } | { ready: true };

export class ExaminerProcess {
  #child: ChildProcess | undefined;

  /** @throws where the directory cannot be opened or its content cannot be read */
  async examine(request: ExaminationRequest): Promise<Examination> {
    const child = await this.#started();
    const answer = await this.#answer(child, () => child.send(request));
    if ('examination' in answer) return answer.examination;
    // What failed half-way may hold the directory, or a map of lmdb's.
    await this.close();
    throw new Error('error' in answer ? answer.error : 'the examiner has started again');
  }

  async close(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async #started(): Promise<ChildProcess> {
    if (this.#child !== undefined) return this.#child;
    const program = fileURLToPath(new URL('./examiner.ts', import.meta.url));
    const child = fork(program, { execArgv: SOURCE_ARGS, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child = child;
    await this.#answer(child, () => {});
    return child;
  }

  #answer(child: ChildProcess, ask: () => void): Promise<Answer> {
    return new Promise((resolve) => {
      let stderr = '';
      const onError = (text: Buffer): void => {
        stderr += text.toString();
      };
      const finish = (answer: Answer): void => {
        child.off('message', finish);
        child.off('exit', onExit);
        child.stderr!.off('data', onError);
        resolve(answer);
      };
      const onExit = (code: number | null, signal: string | null): void => {
        if (this.#child === child) this.#child = undefined;
        finish({ error: `the examiner ended with ${signal ?? code}\n${stderr}` });
      };
      child.stderr!.on('data', onError);
      child.on('message', finish);
      child.on('exit', onExit);
      ask();
    });
  }
}
