// Who is it? That is left to the plugins that read tokens, such as `jwt-auth`.

export const auth = {
  authenticate(_asked) {
    return { tag: 'abstain' };
  },
};
