import type { Admin } from 'kafkajs';
import { until } from './until.ts';

/** The consumer groups of a deployment. */
export class Groups {
  readonly #admin: Admin;
  readonly #ids: readonly string[];

  constructor(admin: Admin, ids: readonly string[]) {
    this.#admin = admin;
    this.#ids = ids;
  }

  /** Waits until every group is balanced and has so many members. */
  async have(members: number): Promise<void> {
    let seen = '';
    await until(`the groups have ${members} members each`, async () => {
      const { groups } = await this.#admin.describeGroups([...this.#ids]);
      seen = groups.map((group) => `${group.groupId} ${group.state} ${group.members.length}`).join(', ');
      return groups.every((group) => group.state === 'Stable' && group.members.length === members);
    }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}; seen: ${seen}`);
    });
  }

  /** Ids of the members, by group. */
  async members(): Promise<ReadonlyMap<string, readonly string[]>> {
    const { groups } = await this.#admin.describeGroups([...this.#ids]);
    return new Map(groups.map(({ groupId, members }) => [groupId, members.map(({ memberId }) => memberId)]));
  }
}
