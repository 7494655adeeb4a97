// Seeds to latents, and keyframes to the curves of `vidgan render --path`.
// "Seeds" in export/README.md says how a seed becomes a latent.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using Row = std::vector<double>;
static const double pi = std::acos(-1.0);

// Threefry-2x32-20: two random words for every counter (pair, index).
static void threefry(uint64_t seed, uint32_t pair, uint32_t index, uint32_t& a, uint32_t& b) {
    static const int turns[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const uint32_t low = uint32_t(seed), high = uint32_t(seed >> 32);
    const uint32_t key[3] = {low, high, low ^ high ^ 0x1BD11BDAu};
    a = pair + key[0];
    b = index + key[1];
    for (int turn = 0; turn < 20; ++turn) {
        const int left = turns[turn % 8];
        a += b;
        b = ((b << left) | (b >> (32 - left))) ^ a;
        if (turn % 4 == 3) {
            const uint32_t n = turn / 4 + 1;
            a += key[n % 3];
            b += key[(n + 1) % 3] + n;
        }
    }
}

// Latent `index` of a seed: z_dim components, rounded to float.
static Row gaussian(uint64_t seed, uint32_t index, size_t z_dim) {
    const double words = 4294967296.0;
    Row z;
    for (uint32_t pair = 0; z.size() < z_dim; ++pair) {
        uint32_t a, b;
        threefry(seed, pair, index, a, b);
        const double radius = std::sqrt(-2 * std::log((a + 1.0) / words)), angle = 2 * pi * (b / words);
        z.push_back(float(radius * std::cos(angle)));
        z.push_back(float(radius * std::sin(angle)));
    }
    z.resize(z_dim);
    return z;
}

static double dot(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
static double norm(const Row& a) { return std::sqrt(dot(a, a)); }
static Row sum(double x, const Row& a, double y, const Row& b) {
    Row both(a.size());
    for (size_t d = 0; d < a.size(); ++d) both[d] = x * a[d] + y * b[d];
    return both;
}
static int64_t modulo(int64_t i, int64_t count) { return (i % count + count) % count; }

// Keyframes of a path. The last 128 that were asked for are kept, so that a path of any length fits in memory.
class Keyframes {
public:
    int64_t count;
    bool closed;

    Keyframes(int64_t count, bool closed, std::function<Row(int64_t)> made) : count(count), closed(closed), made_(made) {}

    // Keyframe i, of those from 0 to count - 1.
    const Row& operator()(int64_t i) {
        if (!known_.count(i)) {
            known_[i] = made_(i);
            order_.push_back(i);
            if (order_.size() > 128) known_.erase(order_.front()), order_.pop_front();
        }
        return known_[i];
    }

    // Keyframe i, whose norm is one more coordinate, reflected beyond both ends of an open path.
    Row continued(int64_t i) {
        const int64_t span = count - 1;
        if (!closed && span && (i < 0 || i > span)) {
            const int64_t rest = modulo(i, 2 * span), turn = (i - rest) / (2 * span);
            const Row first = continued(0), last = continued(span);
            const Row inside = rest <= span ? continued(rest) : sum(2, last, -1, continued(2 * span - rest));
            return sum(1, inside, 2.0 * turn, sum(1, last, -1, first));
        }
        Row z = (*this)(modulo(i, count));
        z.push_back(norm(z));
        return z;
    }

private:
    std::function<Row(int64_t)> made_;
    std::map<int64_t, Row> known_;
    std::deque<int64_t> order_;
};

// A cubic curve through keyframe i and the next. Its slopes are weighted differences of neighbours on `side` sides.
static Row hermite(Keyframes& keyframes, int64_t i, double u, int side) {
    const auto slope = [&](int64_t k) {
        Row slope(keyframes.continued(k).size());
        for (int near = -side; near <= side; ++near) {  // the weight of a neighbour falls as 0.27^distance
            const double weight = side ? 3 / (2 * std::sqrt(3.0)) * std::pow(std::sqrt(3.0) - 2, std::abs(near)) : 0.5;
            slope = sum(1, slope, weight, sum(1, keyframes.continued(k + near + 1), -1, keyframes.continued(k + near - 1)));
        }
        return slope;
    };
    const double u2 = u * u, u3 = u * u * u;
    const Row places = sum(2 * u3 - 3 * u2 + 1, keyframes.continued(i), 3 * u2 - 2 * u3, keyframes.continued(i + 1));
    Row z = sum(1, places, 1, sum(u3 - 2 * u2 + u, slope(i), u3 - u2, slope(i + 1)));
    const double length = z.back();
    z.pop_back();
    return sum(length / norm(z), z, 0, z);  // the mean of two latents is too short
}

static Row slerp(const Row& p, const Row& q, double u) {
    const double p_norm = norm(p), q_norm = norm(q);
    const double angle = std::acos(std::min(1.0, std::max(-1.0, dot(p, q) / (p_norm * q_norm))));
    double a = 1 - u, b = u;  // for parallel latents: between them is no great circle, or many
    if (std::sin(angle) >= 1e-6) a = std::sin(a * angle) / std::sin(angle), b = std::sin(b * angle) / std::sin(angle);
    const double length = (1 - u) * p_norm + u * q_norm;
    return sum(length * a / p_norm, p, length * b / q_norm, q);
}

static Row circle(const Row& a, const Row& b, double angle) {
    const Row square = sum(1, b, -dot(a, b) / dot(a, a), a);
    if (norm(square) < 1e-6 * norm(a)) throw std::runtime_error("both keyframes of the circle point the same way");
    return sum(std::cos(angle), a, std::sin(angle) * norm(a) / norm(square), square);
}

// The keyframes smoothed by a Gaussian, and scaled to the usual norm.
static Row smoothed(Keyframes& keyframes, double at) {
    const auto first = int64_t(std::floor(at));
    Row z(keyframes(0).size());
    for (int64_t i = first - 5; i <= first + 6; ++i) {
        const int64_t k = keyframes.closed ? modulo(i, keyframes.count) : std::min(std::max<int64_t>(i, 0), keyframes.count - 1);
        z = sum(1, z, std::exp(-std::pow((at - i) / 0.7, 2) / 2), keyframes(k));
    }
    return sum(std::sqrt(double(z.size())) / norm(z), z, 0, z);
}

// Octaves of looping noise, of two keyframes each.
static Row noise(Keyframes& keyframes, double at) {
    std::set<int64_t> frequencies;
    double squares = 0;
    for (int octave = 0; octave < 4; ++octave) frequencies.insert((std::max<int64_t>(1, keyframes.count / 2) >> octave) | 1);
    for (int64_t f : frequencies) squares += 1.0 / (f * f);
    Row z(keyframes(0).size());
    int64_t k = 0;
    for (int64_t f : frequencies) {
        const double angle = 2 * pi * f * at / keyframes.count, scale = 1 / (f * std::sqrt(squares));
        const Row a = keyframes(k++), b = keyframes(k++);
        z = sum(1, z, scale, sum(std::cos(angle), a, std::sin(angle), b));
    }
    return z;
}

// The latent at a position, counted in keyframes.
static Row curve(const std::string& path, Keyframes& keyframes, double at) {
    auto i = int64_t(std::floor(at));
    if (!keyframes.closed) i = std::min(i, std::max<int64_t>(keyframes.count - 2, 0));
    const double u = at - i;
    if (path == "loop") return hermite(keyframes, i, u, 24);
    if (path == "spline") return hermite(keyframes, i, u, 0);
    if (path == "circle") return circle(keyframes(0), keyframes(1), 2 * pi * at / keyframes.count);
    if (path == "walk") return smoothed(keyframes, at);
    if (path == "noise") return noise(keyframes, at);
    const Row p = keyframes(modulo(i, keyframes.count)), q = keyframes(modulo(i + 1, keyframes.count));
    return path == "slerp" ? slerp(p, q, u) : sum(1 - u, p, u, q);
}
