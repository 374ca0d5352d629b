-- A render server inside darktable-cli; see darktable_worker.py. No display, no interface, no library of the user's.
-- A job is one line of the request pipe, SOURCE <tab> RESULT; SOURCE.xmp says what to do. The answer is one line.
local darktable = require "darktable"
local folder = os.getenv("PIXWARD_DARKTABLE")
local requests = io.open(folder .. "/requests", "r")
local replies = io.open(folder .. "/replies", "w")
local format = darktable.new_format("tiff")
format.bpp = 16
format.max_width = 0
format.max_height = 0

local function say(text)
  replies:write(text .. "\n")
  replies:flush()
end

local function render(source, result)
  -- A fresh import reads the sidecar again; deleting it takes it off the library in memory, not off the disk.
  local image = darktable.database.import(source)
  local failed = format:write_image(image, result)
  image:delete()
  if failed then error("write_image failed") end
end

say("ready")
for line in requests:lines() do
  local source, result = line:match("^([^\t]*)\t([^\t]*)$")
  local ok, reason = pcall(render, source, result)
  say(ok and "ok" or ("failed " .. tostring(reason):gsub("\n", " ")))
end
-- The other end is closed. Without os.exit the main thread would wait in its open() for ever.
os.exit(0, false)
