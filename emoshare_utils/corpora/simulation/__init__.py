r"""The simulated corpus: synthetic voices, rated by simulated listeners.

No person spoke or listened. Each clip i is spoken by a synthetic speaker s(i) in a language l(i)
with a latent appraisal, its valence, arousal and dominance:

    a_i ~ Uniform([-1, 1]^3)                                                            (S1)

**Voice.** Eight cues (rate, pitch, pitch range, pause between words, level, spectral tilt, smile,
chest) shape a clip. Cue c has a base, a speaker's own deviation, the effect of the appraisal, and
a deviation of this one performance:

    x_ic = base_c + speaker_c z_sc + effect_c . a_i + clip_c e_ic,   z_sc, e_ic ~ N(0, 1)   (S2)

with z and e clipped at two standard deviations. eSpeak NG speaks with the first four cues; then
the gain in dB at f Hz is

    G_i(f) = tilt_i max(0, log2(f / 500)) + smile_i exp(-log2(f / 2800)^2 / 0.5)
             + chest_i / (1 + (f / 300)^4),                                             (S3)

and the speech is scaled to level_i (dBFS, RMS) and laid over a faint noise floor.

**Listeners.** Emotion k is a region of appraisal space: a centre p_k, a weight for each of the
three dimensions w_k and a radius r_k. Listener j hears the clip at a distance from the centre,

    d_ijk = sqrt(sum_m w_km (a_im + b_jm - p_km)^2),   b_j ~ N(0, bias^2 I),            (S4)

where b_j is the listener's bias, and ticks the emotion when that distance, perceived with noise,
is below the radius plus the listener's threshold t_j ~ N(0, threshold^2):

    P(j ticks k for i) = q_ijk = Phi((r_k + t_j - d_ijk) / u_jl)                        (S5)

Phi is the normal distribution function. The uncertainty u_jl is `known` in the languages that
listener j knows and the larger `unknown` in the others.

**Shares.** A panel J_i of n_i listeners is drawn from the pool of P listeners; each ticks any
number of emotions. The share, and the share expected of a new panel, are

    y_ik = (1 / n_i) sum_{j in J_i} Bernoulli(q_ijk),   E[y_ik | i] = (1 / P) sum_j q_ijk   (S6)

The constants are in `model`, (S1) to (S3) in `voices`, (S4) to (S6) in `listeners`.
"""
