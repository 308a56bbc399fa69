"""Train a policy for CartPole in PyTorch, serve it by fusednet in the control loop, compare their latencies.

Needs PyTorch and Gymnasium: ``pip install ".[torch]" gymnasium``. It takes about half a minute on one core.
"""

import time
from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from torch import nn

import fusednet as fn

STEPS_A_BATCH = 2500
BATCHES = 40
EPISODES = 20
DISCOUNT = 0.99

Policy = Callable[[np.ndarray], np.ndarray]  # from an observation to the logits of the actions


def play(env: gymnasium.Env, seed: int, choose: Callable[[np.ndarray], int]) -> tuple[list, list, list]:
    """Return the observations, actions and rewards of one episode."""
    observations, actions, rewards = [], [], []
    observation, _ = env.reset(seed=seed)
    over = False
    while not over:
        actions.append(choose(observation))
        observations.append(observation)
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        rewards.append(float(reward))
        over = terminated or truncated
    return observations, actions, rewards


def discounted(rewards: list[float]) -> np.ndarray:
    """Return the sum of the rewards to come at each step, discounted by their delay."""
    returns = np.empty(len(rewards), np.float32)
    total = 0.0
    for step in reversed(range(len(rewards))):
        total = rewards[step] + DISCOUNT * total
        returns[step] = total
    return returns


def train(env: gymnasium.Env, module: nn.Module) -> None:
    """Climb the policy gradient ∇ Σ A · log π(action), with the standardized returns A (REINFORCE)."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    def sample(observation: np.ndarray) -> int:
        with torch.inference_mode():
            p = torch.softmax(module(torch.from_numpy(observation)), -1)[1].item()
        return int(rng.random() < p)

    seed = 0
    for batch in range(BATCHES):
        observations, actions, returns, lengths = [], [], [], []
        while sum(lengths) < STEPS_A_BATCH:
            seen, done, rewards = play(env, seed, sample)
            seed += 1
            observations += seen
            actions += done
            returns.append(discounted(rewards))
            lengths.append(len(rewards))
        advantage = torch.from_numpy(np.concatenate(returns))
        advantage = (advantage - advantage.mean()) / advantage.std()
        logits = module(torch.from_numpy(np.array(observations)))
        loss = (
            advantage * nn.functional.cross_entropy(logits, torch.tensor(actions), reduction="none")
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if batch % 10 == 9 or np.mean(lengths) > 490:
            print(f"batch {batch + 1}: the pole stands for {np.mean(lengths):.0f} steps of 500")
        if np.mean(lengths) > 490:
            break


def serve(env: gymnasium.Env, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """Run the loop with the likelier action each time; return the observations, and seconds a decision."""
    seconds: list[float] = []

    def decide(observation: np.ndarray) -> int:
        start = time.perf_counter()
        action = int(policy(observation).argmax())
        seconds.append(time.perf_counter() - start)
        return action

    episodes = [play(env, 10_000 + episode, decide)[0] for episode in range(EPISODES)]
    print(f"  the pole stands for {len(seconds) / EPISODES:.0f} steps of 500, over {EPISODES} episodes")
    return np.concatenate(episodes), np.array(seconds)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    env = gymnasium.make("CartPole-v1")
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    train(env, module)

    net = fn.from_torch(module)
    module.eval()

    def by_torch(observation: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(observation)).numpy()

    latencies = {}
    for name, policy in (("PyTorch", by_torch), ("fusednet", net.predict)):
        print(f"served by {name}:")
        observations, latencies[name] = serve(env, policy)
    same = by_torch(observations).argmax(axis=1) == net.predict(observations).argmax(axis=1)
    print(f"both decide the same in {100 * same.mean():.2f} % of {len(observations)} steps")
    print(f"\n{'latency of a decision':24}{'median':>10}{'99th percentile':>20}")
    for name, seconds in latencies.items():
        median, tail = np.percentile(seconds, [50, 99]) * 1e6
        print(f"{name:24}{median:7.1f} µs{tail:17.1f} µs")


if __name__ == "__main__":
    main()
