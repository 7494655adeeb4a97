// Render generator.onnx or walk.onnx with OpenVINO's C++ library alone, frame by frame as raw RGB:
//
//     pip install openvino      (or Intel's packages: any OpenVINO from 2024 on)
//     cmake -B build -D OpenVINO_DIR="$(python -c 'import openvino; print(openvino.__path__[0])')/cmake"
//     cmake --build build
//     build/render generator.onnx - --seed 7 --frames 120 |
//         ffmpeg -f rawvideo -pix_fmt rgb24 -s 128x128 -r 30 -i - -vf scale=512:512:flags=neighbor out.mp4
//
// The same seed gives the same frames as `vidgan render`: see "Seeds" in export/README.md.
#include <openvino/openvino.hpp>

#include <cmath>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

using Row = std::vector<double>;

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

// Latent `index`: z_dim components, rounded to float. Its norm follows as one more coordinate.
static Row keyframe(uint64_t seed, uint32_t index, size_t z_dim) {
    const double pi = std::acos(-1.0), words = 4294967296.0;
    Row z;
    for (uint32_t pair = 0; z.size() < z_dim; ++pair) {
        uint32_t a, b;
        threefry(seed, pair, index, a, b);
        const double radius = std::sqrt(-2 * std::log((a + 1.0) / words)), angle = 2 * pi * (b / words);
        z.push_back(float(radius * std::cos(angle)));
        z.push_back(float(radius * std::sin(angle)));
    }
    z.resize(z_dim);
    z.push_back(std::sqrt(std::inner_product(z.begin(), z.end(), z.begin(), 0.0)));
    return z;
}

// The default path of `vidgan render`: a closed C2 cubic spline through the keyframes of a seed.
class Loop {
public:
    Loop(uint64_t seed, int64_t frames, size_t z_dim)
        : seed_(seed), frames_(frames), count_(std::max<int64_t>(3, std::llrint(frames / 30.0))), z_dim_(z_dim) {}

    std::vector<float> latent(int64_t frame) {
        const double at = frame * (double(count_) / frames_), u = at - std::floor(at);
        const auto i = int64_t(std::floor(at));
        const Row p = point(i), q = point(i + 1);
        if (i != segment_) m_ = slope(i), n_ = slope(i + 1), segment_ = i;
        Row v(z_dim_ + 1);
        double square = 0;
        for (size_t d = 0; d <= z_dim_; ++d) {
            v[d] = (2 * u * u * u - 3 * u * u + 1) * p[d] + (u * u * u - 2 * u * u + u) * m_[d] +
                   (3 * u * u - 2 * u * u * u) * q[d] + (u * u * u - u * u) * n_[d];
            if (d < z_dim_) square += v[d] * v[d];
        }
        std::vector<float> z(z_dim_);  // the mean of two latents is too short
        for (size_t d = 0; d < z_dim_; ++d) z[d] = float(v[d] * (v[z_dim_] / std::sqrt(square)));
        return z;
    }

private:
    Row point(int64_t i) {
        const auto index = uint32_t(((i % count_) + count_) % count_);
        if (!known_.count(index)) {
            known_[index] = keyframe(seed_, index, z_dim_);
            order_.push_back(index);
            if (order_.size() > 128) known_.erase(order_.front()), order_.pop_front();
        }
        return known_[index];
    }

    Row slope(int64_t i) {  // the weight of a neighbour falls as 0.27^distance
        Row sum(z_dim_ + 1);
        for (int k = -24; k <= 24; ++k) {
            const double weight = 3 / (2 * std::sqrt(3.0)) * std::pow(std::sqrt(3.0) - 2, std::abs(k));
            const Row after = point(i + k + 1), before = point(i + k - 1);
            for (size_t d = 0; d <= z_dim_; ++d) sum[d] += weight * (after[d] - before[d]);
        }
        return sum;
    }

    uint64_t seed_;
    int64_t frames_, count_, segment_ = -1;
    size_t z_dim_;
    Row m_, n_;
    std::map<uint32_t, Row> known_;
    std::deque<uint32_t> order_;
};

static uint64_t whole(const std::string& name, const std::string& text, uint64_t least, uint64_t most) {
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    try {
        if (digits && std::stoull(text) >= least && std::stoull(text) <= most) return std::stoull(text);
    } catch (const std::out_of_range&) {
    }
    throw std::runtime_error(name + " " + text + ": a whole number from " + std::to_string(least) + " to " + std::to_string(most));
}

static std::shared_ptr<ov::Model> opened(ov::Core& core, const std::string& file) {
    std::ifstream bytes(file, std::ios::binary);
    if (!bytes) throw std::runtime_error(file + ": no such file");
    std::shared_ptr<ov::Model> model;
    try {
        if (bytes.get() != 8) throw std::runtime_error("no ONNX version at the start");
        model = core.read_model(file);
    } catch (const std::exception&) {
        throw std::runtime_error(file + ": not an ONNX file, or damaged");
    }
    const auto input = model->inputs().empty() ? "" : model->input(0).get_any_name();
    if ((input != "z" && input != "t") || model->output(0).get_any_name() != "frames")
        throw std::runtime_error(file + ": not what vidgan export makes (z or t to frames)");
    return model;
}

struct Part {  // a file that is removed unless it was renamed, so that no half-written one is left
    std::filesystem::path name;
    ~Part() { std::error_code none; std::filesystem::remove(name, none); }
};

static void render(std::map<std::string, std::string> given, const std::string& file, const std::string& target) {
    const uint64_t seed = whole("--seed", given["--seed"], 0, UINT64_MAX);
    const auto frames = int64_t(whole("--frames", given["--frames"], 1, 1000000000));
    const auto label = int32_t(whole("--label", given["--label"], 0, INT32_MAX));
    ov::Core core;
    const auto model = opened(core, file);
    const bool walk = model->input(0).get_any_name() == "t", classes = model->inputs().size() > 1;
    // OpenVINO does not check a label and would make a meaningless picture. The file says how many classes it has.
    if (classes) whole("--label", given["--label"], 0, std::stoull(model->get_rt_info<std::string>("framework", "classes")) - 1);
    // Without this hint, OpenVINO computes in bfloat16 where the CPU can. That is up to 17 grey levels off.
    auto request = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();
    const size_t z_dim = walk ? 0 : size_t(model->input("z").get_partial_shape()[1].get_length());
    Loop path(seed, frames, z_dim);

    const std::runtime_error unwritten(target + ": cannot be written");
    const std::filesystem::path end(target);
    const Part part{end.parent_path() / (".part-" + end.filename().string())};
    std::ofstream written;
    if (target != "-") written.open(part.name, std::ios::binary);
    std::ostream& out = target == "-" ? std::cout : written;
    if (!out || std::filesystem::is_directory(end)) throw unwritten;
#ifdef _WIN32
    _setmode(_fileno(stdout), _O_BINARY);  // else Windows would write each byte 10 as two bytes
#endif
    for (int64_t frame = 0; frame < frames; ++frame) {
        std::vector<float> row = walk ? std::vector<float>{float(double(frame) / frames)} : path.latent(frame);
        const ov::Shape shape = walk ? ov::Shape{1} : ov::Shape{1, z_dim};
        request.set_tensor(model->input(0), ov::Tensor(ov::element::f32, shape, row.data()));
        int32_t one = label;
        if (classes) request.set_tensor("label", ov::Tensor(ov::element::i32, ov::Shape{1}, &one));
        request.infer();
        const ov::Tensor picture = request.get_output_tensor();  // uint8 [1, H, W, 3 or 4]
        if (!out.write(reinterpret_cast<const char*>(picture.data<uint8_t>()), picture.get_size())) throw unwritten;
    }
    if (!out.flush()) throw unwritten;
    written.close();
    std::error_code failed;
    if (target != "-") std::filesystem::rename(part.name, end, failed);
    if (failed) throw unwritten;
}

int main(int count, char** words) {
    std::map<std::string, std::string> given = {{"--seed", "0"}, {"--frames", "120"}, {"--label", "0"}};
    std::vector<std::string> names;
    bool understood = true;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (!given.count(word)) names.push_back(word);
        else if (i + 1 < count) given[word] = words[++i];
        else understood = false;
    }
    if (!understood || names.size() != 2) {
        std::cerr << "usage: render MODEL.onnx TARGET.rgb|- [--seed 0] [--frames 120] [--label 0]\n";
        return 1;
    }
    try {
        render(given, names[0], names[1]);
    } catch (const std::exception& error) {
        const std::string told = error.what();
        std::cerr << "render: " << told.substr(0, told.find('\n')) << '\n';
        return 1;
    }
}
