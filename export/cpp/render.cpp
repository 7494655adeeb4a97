// Render generator.onnx or walk.onnx with OpenVINO's C++ library alone, frame by frame as raw RGB:
//
//     pip install openvino nlohmann-json      (or packages of your system: any OpenVINO from 2024 on)
//     cmake -B build -D PYTHON="$(command -v python)"
//     cmake --build build
//     build/render generator.onnx out.rgb --walk walk.json      what `vidgan render --save-walk` has written
//     build/render generator.onnx - --seed 7 --frames 120 |
//         ffmpeg -f rawvideo -pix_fmt rgb24 -s 128x128 -r 30 -i - -vf scale=512:512:flags=neighbor out.mp4
//
// The same seed or walk gives the same frames as `vidgan render`.
#include <openvino/openvino.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "walk.hpp"
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

static volatile std::sig_atomic_t stopped = 0;  // the signal that asks this program to end

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
    if (model->output(0).get_any_name() == "image") throw std::runtime_error(file + ": made with --output float, which is not played");
    const auto input = model->inputs().empty() ? "" : model->input(0).get_any_name();
    if ((input != "z" && input != "t") || model->output(0).get_any_name() != "frames")
        throw std::runtime_error(file + ": not what vidgan export makes (z or t to frames)");
    return model;
}

struct Part {  // a file that is removed unless it was renamed, so that no half-written one is left
    std::filesystem::path name;
    ~Part() { std::error_code none; std::filesystem::remove(name, none); }
};

// Of a file that mixes classes, and of one that takes one class at a time. OpenVINO does not check a label and
// would make a meaningless picture; the file says how many classes it has.
static uint64_t classes_of(const ov::Model& model) {
    if (model.inputs().size() < 2) return 0;
    if (model.input(1).get_any_name() == "class_weights") return uint64_t(model.input(1).get_partial_shape()[1].get_length());
    return std::stoull(model.get_rt_info<std::string>("framework", "classes"));
}

static Walk asked(std::map<std::string, std::string>& given, const ov::Model& model, size_t z_dim) {
    refuse(given.count("--walk") && given.size() > 1, "--walk sets seed, frames and label itself");
    const uint64_t classes = classes_of(model);
    const bool mixes = classes && model.input(1).get_any_name() == "class_weights";
    if (given.count("--walk")) {
        const std::string file = given["--walk"];
        refuse(!z_dim, "--walk " + file + ": the model contains a walk already");
        Walk walk = read_walk(file, z_dim, classes);
        const std::set<int64_t> different(walk.labels.begin(), walk.labels.end());
        refuse(!mixes && different.size() > 1, file + ": it mixes classes, which needs a model of vidgan export --classes weights");
        return walk;
    }
    const auto number = [&](const std::string& name, uint64_t usual, uint64_t least, uint64_t most) {
        return given.count(name) ? whole(name, given[name], least, most) : usual;
    };
    nlohmann::json content = {{"format", "vidgan-walk-2"}};
    content["seed"] = number("--seed", 0, 0, UINT64_MAX);
    const bool says = !z_dim && model.has_rt_info("framework", "frames");  // of the walk that the file contains
    const auto own = says ? model.get_rt_info<std::string>("framework", "frames") : "120";
    content["frames"] = number("--frames", std::stoull(own), 1, 1000000000);
    if (given.count("--label")) {
        refuse(!classes, "--label " + given["--label"] + ": the model has no classes");
        content["labels"] = {number("--label", 0, 0, classes - 1)};
    }
    return Walk(content, z_dim, classes);
}

static void render(std::map<std::string, std::string> given, const std::string& file, const std::string& target, bool force) {
    const std::filesystem::path end(target);
    const std::string kind = end.extension().string();
    if (std::filesystem::is_directory(end)) throw std::runtime_error(target + ": a folder; give a name for the frames");
    if (target != "-" && !force && std::filesystem::exists(end)) throw std::runtime_error(target + ": exists already; --force replaces it");
    if (target != "-" && kind != ".rgb" && kind != ".rgba")
        throw std::runtime_error(target + ": holds raw frames, so name it .rgb or .rgba, or write to - and pipe that into ffmpeg");
    ov::Core core;
    const auto model = opened(core, file);
    const bool inside = model->input(0).get_any_name() == "t";  // the file contains a walk
    const size_t z_dim = inside ? 0 : size_t(model->input("z").get_partial_shape()[1].get_length());
    Walk walk = asked(given, *model, z_dim);
    // Without this hint, OpenVINO computes in bfloat16 where the CPU can. That is up to 17 grey levels off.
    auto request = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();

    const std::runtime_error unwritten(target + ": cannot be written");
    const Part part{end.parent_path() / (".part-" + end.filename().string())};
    std::ofstream written;
    if (target != "-") written.open(part.name, std::ios::binary);
    std::ostream& out = target == "-" ? std::cout : written;
    if (!out) throw unwritten;
#ifdef _WIN32
    _setmode(_fileno(stdout), _O_BINARY);  // else Windows would write each byte 10 as two bytes
#endif
    for (int64_t frame = 0; frame < walk.frames && !stopped; ++frame) {
        std::vector<float> row = inside ? std::vector<float>{float(double(frame) / walk.frames)} : walk.latent(frame), weights;
        const ov::Shape shape = inside ? ov::Shape{1} : ov::Shape{1, z_dim};
        request.set_tensor(model->input(0), ov::Tensor(ov::element::f32, shape, row.data()));
        auto label = int32_t(walk.labels.empty() ? 0 : walk.labels[0]);
        if (model->inputs().size() > 1 && model->input(1).get_any_name() == "label") {
            request.set_tensor("label", ov::Tensor(ov::element::i32, ov::Shape{1}, &label));
        } else if (model->inputs().size() > 1) {
            weights = walk.class_weights(frame);
            request.set_tensor("class_weights", ov::Tensor(ov::element::f32, ov::Shape{1, weights.size()}, weights.data()));
        }
        request.infer();
        const ov::Tensor picture = request.get_output_tensor();  // uint8 [1, H, W, 3 or 4]
        if (!out.write(reinterpret_cast<const char*>(picture.data<uint8_t>()), picture.get_size())) throw unwritten;
    }
    if (stopped) return;  // the part is removed
    if (!out.flush()) throw unwritten;
    written.close();
    std::error_code failed;
    if (target != "-") std::filesystem::rename(part.name, end, failed);
    if (failed) throw unwritten;
}

int main(int count, char** words) {
    for (int number : {SIGINT, SIGTERM}) std::signal(number, [](int number) { stopped = number; });
    const std::set<std::string> options = {"--seed", "--frames", "--label", "--walk"};
    std::map<std::string, std::string> given;
    std::vector<std::string> names;
    bool understood = true, force = false;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (word == "--force") force = true;
        else if (!options.count(word)) names.push_back(word);
        else if (i + 1 < count) given[word] = words[++i];
        else understood = false;
    }
    if (!understood || names.size() != 2) {
        std::cerr << "usage: render MODEL.onnx TARGET.rgb|- [--seed 0] [--frames 120] [--label 0] [--walk FILE] [--force]\n";
        return 1;
    }
    try {
        render(given, names[0], names[1], force);
    } catch (const std::exception& error) {
        const std::string told = error.what();
        std::cerr << "render: " << told.substr(0, told.find('\n')) << '\n';
        return 1;
    }
    return stopped ? 128 + stopped : 0;
}
