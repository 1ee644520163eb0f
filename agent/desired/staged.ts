/** A commit with all its files in a repository of its own, where it can be looked at and thrown away. */
export interface Staged {
  readonly gitDir: string;
  readonly commit: string;
}

/** The reference that a staged commit is under: a branch, so that a tag cannot be it. */
export const stagedRef = 'refs/heads/staged';
